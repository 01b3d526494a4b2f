# syntax=docker/dockerfile:1
# The operator as one static binary and nothing else: docker build -t ghcr.io/usher-dev/usher .
# For other architectures: docker buildx build --platform linux/amd64,linux/arm64 .

# Alpine's own target is musl, so what is built here is static without cross-compiling, on x86_64 and aarch64 alike.
FROM rust:1.95-alpine AS build
WORKDIR /src
# rust-toolchain.toml stays outside: the image is the toolchain, and rustup would fetch clippy and rustfmt for nothing.
# The allocator is built by make.
RUN apk add --no-cache make
ENV JEMALLOC_SYS_WITH_MALLOC_CONF=narenas:2,dirty_decay_ms:120000,muzzy_decay_ms:0
COPY Cargo.toml Cargo.lock ./
COPY src src
# The caches make the second build fast and are no part of the image; so the binary is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin usher \
    && cp target/release/usher /usher

# Certificate authorities, a non-root user, no shell.
FROM gcr.io/distroless/static:nonroot
LABEL org.opencontainers.image.title="usher" \
      org.opencontainers.image.description="Gives a developer everything needed to push code on day one, and takes all of it away, provably, when they leave" \
      org.opencontainers.image.source="https://github.com/usher-dev/usher" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /usher /usr/local/bin/usher
# By number, as runAsNonRoot cannot check a name.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/usher"]
CMD ["run"]
