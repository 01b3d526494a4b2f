//! The page itself: files of this repository, as they are, within the program. Nothing is built for it, and nothing is fetched from elsewhere.

/// A file of the page.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its type.
    pub content_type: &'static str,
    /// What is in it.
    pub text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The file at a path; it is the same for everybody.
pub fn asset(path: &str) -> Option<Asset> {
    let (content_type, text) = match path {
        "/" => (HTML, include_str!("assets/index.html")),
        "/page.css" => (CSS, include_str!("assets/page.css")),
        "/page.js" => (SCRIPT, include_str!("assets/page.js")),
        "/source.js" => (SCRIPT, include_str!("assets/source.js")),
        "/words.js" => (SCRIPT, include_str!("assets/words.js")),
        "/grid.js" => (SCRIPT, include_str!("assets/grid.js")),
        "/access.js" => (SCRIPT, include_str!("assets/access.js")),
        "/people.js" => (SCRIPT, include_str!("assets/people.js")),
        "/departures.js" => (SCRIPT, include_str!("assets/departures.js")),
        "/scorecards.js" => (SCRIPT, include_str!("assets/scorecards.js")),
        _ => return None,
    };
    Some(Asset { content_type, text })
}
