//! What usher asks of the server.
//!
//! A change is one block that finds the role by its oid and acts by the name that it has at this moment: nobody who is renamed meanwhile, and nobody who got
//! her name, is hit. Values are in it as literals that the protocol's own library escapes; names are put together by the server, with `%I`.

use postgres_protocol::escape::{escape_identifier, escape_literal};
use tokio_postgres::types::Oid;

/// What every account is told by. `$1` is an oid, `$2` a name.
///
/// - A role that nobody can log in as counts as let in while a session of it is open that usher may not end.
/// - Of a comment a character more than usher reads is told, so that it sees that there is more.
/// - A password may work unless it has run out: usher may not read whether there is one. So it lets the passwords of roles run out that are to have none, which
///   their holders cannot undo.
macro_rules! accounts {
    ($rest:literal) => {
        concat!(
            "SELECT r.oid, r.rolname::text AS login, left(shobj_description(r.oid, 'pg_authid'), 10001) AS comment,
                r.rolcanlogin OR (s.usesysid IS NOT NULL AND NOT pg_has_role('pg_signal_backend', 'USAGE')) AS enabled,
                r.rolsuper OR r.rolcreaterole OR r.rolbypassrls OR r.rolreplication OR r.rolname = current_user OR r.rolname ^@ 'pg_' AS administrator,
                coalesce(r.rolvaliduntil > now(), true) OR s.usesysid IS NOT NULL AS credentials,
                ARRAY(SELECT DISTINCT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid) AS groups
            FROM pg_roles r LEFT JOIN (SELECT DISTINCT usesysid FROM pg_stat_activity) s ON s.usesysid = r.oid ",
            $rest
        )
    };
}

/// One account, by its oid or else by its name.
pub const FIND: &str = accounts!("WHERE r.oid = $1 OR r.rolname = $2 ORDER BY r.oid = $1 DESC LIMIT 1");
/// All accounts, and groups.
pub const LIST: &str = accounts!("WHERE r.rolname !~ '^pg_'");

/// What usher's role may do.
pub const PROBE: &str = "SELECT rolsuper OR rolcreaterole AS changes, pg_has_role('pg_signal_backend', 'USAGE') AS ends FROM pg_roles WHERE rolname = current_user";

/// Ends all sessions of a role, `$1`: a row for each that there still was.
pub const END_SESSIONS: &str =
    "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = $1 AND pid <> pg_backend_pid()";

/// What a role owns and what was granted to it, by database; without one what belongs to the server as a whole. Settings of hers are no property.
pub const HOLDINGS: &str = "SELECT b.datname::text AS database,
        count(*) FILTER (WHERE d.owned) AS owned,
        string_agg(pg_describe_object(d.classid, d.objid, 0), ', ' ORDER BY d.classid, d.objid) FILTER (WHERE d.owned AND d.dbid = 0) AS named
    FROM (SELECT *, deptype = 'o' AND classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass) AS owned FROM pg_shdepend) d
    LEFT JOIN pg_database b ON b.oid = d.dbid
    WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = $1 AND (d.dbid = 0 OR b.oid IS NOT NULL)
    GROUP BY d.dbid, b.datname ORDER BY b.datname NULLS FIRST";

/// The oid of a role by its name, `$1`.
pub const ROLE: &str = "SELECT oid FROM pg_roles WHERE rolname = $1";

/// The code of what usher's own blocks refuse.
const REFUSED: &str = "US001";

/// What becomes of a change of somebody who is not there.
#[derive(Clone, Copy, Debug)]
pub enum Absent {
    /// It is no error: what is gone cannot lose anything.
    Fine,
    /// It is refused.
    Refused,
}

/// A block that acts on a role: `body` has its oid in `id` and its name in `login`.
fn block(id: Oid, absent: Absent, variables: &str, body: &str, then: &str) -> String {
    let absent = match absent {
        Absent::Fine => "RETURN".to_owned(),
        Absent::Refused => refuse("'there is no such account'"),
    };
    let whole = format!(
        "DECLARE id CONSTANT oid := {id}; login name; {variables}
        BEGIN
            SELECT rolname INTO login FROM pg_roles WHERE oid = id;
            IF login IS NULL THEN {absent}; END IF;
            {body}
            IF NOT EXISTS (SELECT FROM pg_roles WHERE oid = id AND rolname = login) THEN
                RAISE serialization_failure USING MESSAGE = 'the role was renamed meanwhile';
            END IF;
            {then}
        END"
    );
    format!("DO {}", escape_literal(&whole))
}

/// A text, whole: a bare literal would be cut to the length of a name where it meets one.
fn text(value: &str) -> String {
    format!("{}::text", escape_literal(value))
}

fn refuse(message: &str) -> String {
    format!("RAISE EXCEPTION USING ERRCODE = '{REFUSED}', MESSAGE = {message}")
}

/// Makes a role with its mark, and tells its oid. No password works before one is issued.
pub fn create(login: &str, mark: &str) -> String {
    let (name, literal, mark) = (escape_identifier(login), text(login), escape_literal(mark));
    format!(
        "CREATE ROLE {name} LOGIN VALID UNTIL '-infinity'; COMMENT ON ROLE {name} IS {mark}; SELECT oid::text FROM pg_roles WHERE rolname = {literal}"
    )
}

/// Sets the comment.
pub fn comment(id: Oid, comment: &str) -> String {
    let body = format!("EXECUTE format('COMMENT ON ROLE %I IS %L', login, {});", text(comment));
    block(id, Absent::Refused, "", &body, "")
}

/// Gives another name, unless it has that already.
pub fn rename(id: Oid, to: &str) -> String {
    let to = text(to);
    let body = format!("IF login <> {to} THEN EXECUTE format('ALTER ROLE %I RENAME TO %I', login, {to}); login := {to}; END IF;");
    block(id, Absent::Refused, "", &body, "")
}

/// Lets in.
pub fn let_in(id: Oid) -> String {
    block(id, Absent::Refused, "", "EXECUTE format('ALTER ROLE %I LOGIN', login);", "")
}

/// Ends what is open, once it is written that nothing new can be opened.
const THEN_END: &str = "COMMIT; PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = id AND pid <> pg_backend_pid();";

/// Locks out.
pub fn lock_out(id: Oid) -> String {
    block(id, Absent::Fine, "", "EXECUTE format('ALTER ROLE %I NOLOGIN', login);", THEN_END)
}

/// Takes the password away, and lets every other run out.
pub fn revoke(id: Oid) -> String {
    block(id, Absent::Fine, "", "EXECUTE format('ALTER ROLE %I PASSWORD NULL VALID UNTIL ''-infinity''', login);", THEN_END)
}

/// Sets a password, of which only the verifier is sent; one that has run out works again.
pub fn password(id: Oid, verifier: &str) -> String {
    let verifier = text(verifier);
    let body = format!(
        "EXECUTE format('ALTER ROLE %I PASSWORD %L', login, {verifier})
            || (SELECT CASE WHEN rolvaliduntil <= now() THEN ' VALID UNTIL ''infinity''' ELSE '' END FROM pg_roles WHERE oid = id);"
    );
    block(id, Absent::Refused, "", &body, "")
}

/// Roles by which one runs programs as the server itself, or reads and writes its files, and with that becomes whoever one likes.
const BEYOND_DATA: &str = "'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'";

/// Puts into a group, unless it is in it already. Who is in a group may act as that and as each role that the group is in itself, with `SET ROLE`: so none of them
/// may be an administrator's or usher's own.
pub fn join(id: Oid, group: &str) -> String {
    let group = text(group);
    let missing = refuse(&format!("format('there is no role %I; make it, or mend the Role that names it', {group})"));
    let superuser = refuse(&format!("format('%I is a superuser, and usher makes nobody one; mend the Role that names it', {group})"));
    let administers = refuse(&format!(
        "format('who is in %I may act as %s, which administers the server, and usher gives nobody that; mend the Role that names it, or take that from the group', {group}, over)"
    ));
    let body = format!(
        "SELECT * INTO team FROM pg_roles WHERE rolname = {group};
        IF NOT FOUND THEN {missing}; END IF;
        IF team.rolsuper THEN {superuser}; END IF;
        SELECT string_agg(format('%I', r.rolname), ', ' ORDER BY r.oid) INTO over FROM pg_roles r WHERE pg_has_role(team.oid, r.oid, 'MEMBER') AND (
            r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls OR r.rolname = current_user OR r.rolname IN ({BEYOND_DATA})
        );
        IF over IS NOT NULL THEN {administers}; END IF;
        IF NOT EXISTS (SELECT FROM pg_auth_members WHERE roleid = team.oid AND member = id) THEN
            EXECUTE format('GRANT %I TO %I', team.rolname, login);
        END IF;"
    );
    block(id, Absent::Refused, "team record; over text;", &body, "")
}

/// Ends the sessions that somebody had when she was taken out of a group, and sees that they have ended: one that ran `SET ROLE` acts as the group for as long as
/// it is open, and the server tells nobody which ones did. The second look is for one that was just being opened; usher is not told when a session began.
const THEN_END_OLD: &str = "IF NOT taken THEN RETURN; END IF;
            COMMIT;
            FOR look IN 1..2 LOOP
                PERFORM pg_stat_clear_snapshot();
                old := old || ARRAY(SELECT pid FROM pg_stat_activity WHERE usesysid = id AND pid <> pg_backend_pid());
                PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = id AND pid = ANY (old);
                PERFORM pg_sleep(0.05);
            END LOOP;
            PERFORM pg_stat_clear_snapshot();
            PERFORM pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usesysid = id AND pid = ANY (old);
            PERFORM pg_stat_clear_snapshot();
            IF EXISTS (SELECT FROM pg_stat_activity WHERE usesysid = id AND pid = ANY (old)) THEN
                RAISE query_canceled USING MESSAGE = 'sessions that were told to end are still open';
            END IF;";

/// Takes out of a group, whoever put it there: since version 16 each who did is remembered, and only his own is taken back unless he is named.
pub fn leave(id: Oid, group: &str) -> String {
    let body = format!(
        "FOR membership IN SELECT g.rolname AS team, w.rolname AS giver FROM pg_auth_members m
                JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles w ON w.oid = m.grantor WHERE m.member = id AND g.rolname = {} LOOP
            IF current_setting('server_version_num')::int >= 160000 THEN
                EXECUTE format('REVOKE %I FROM %I GRANTED BY %I', membership.team, login, membership.giver);
            ELSE
                EXECUTE format('REVOKE %I FROM %I', membership.team, login);
            END IF;
            taken := true;
        END LOOP;",
        text(group)
    );
    block(id, Absent::Fine, "membership record; taken bool := false; old int[] := '{}';", &body, THEN_END_OLD)
}

/// Hands over what a role owns in a database and of the server.
pub fn hand_over(id: Oid, heir: Oid) -> String {
    as_equal(id, Some(heir), "EXECUTE format('REASSIGN OWNED BY %I TO %I', login, heir);")
}

/// Takes what was granted to a role in a database and of the server, and its settings. The statement would drop what the role owns, too: whatever that is by now,
/// the heir gets it before; without one usher's own role does, rather than nobody.
pub fn clear(id: Oid, heir: Option<Oid>) -> String {
    as_equal(id, heir, "EXECUTE format('REASSIGN OWNED BY %I TO %I', login, heir); EXECUTE format('DROP OWNED BY %I', login);")
}

/// To hand over, usher's role has to be the equal of both; of the owner of the database, who may make schemas; and to revoke, of whoever owns what was granted.
/// Where it is not and may be, it is until the end of this transaction.
fn as_equal(id: Oid, heir: Option<Oid>, body: &str) -> String {
    let heir = heir.map_or_else(|| "(SELECT oid FROM pg_roles WHERE rolname = current_user)".to_owned(), |heir| heir.to_string());
    let body = format!(
        "SELECT rolname INTO heir FROM pg_roles WHERE oid = {heir};
        IF heir IS NULL OR heir = login THEN RAISE serialization_failure USING MESSAGE = 'who is to get it has gone meanwhile'; END IF;
        SELECT oid, datdba INTO here FROM pg_database WHERE datname = current_database();
        SELECT coalesce(array_agg(rolname), '{{}}') INTO lent FROM pg_roles r WHERE NOT pg_has_role(r.oid, 'USAGE') AND (
            rolname IN (login, heir) OR (
                (r.oid = here.datdba OR r.oid IN (
                    SELECT o.refobjid FROM pg_shdepend a JOIN pg_shdepend o USING (dbid, classid, objid)
                    WHERE a.refclassid = 'pg_authid'::regclass AND a.refobjid = id AND a.deptype = 'a' AND o.deptype = 'o'
                        AND a.dbid IN (0, here.oid)
                )) AND NOT rolsuper AND NOT pg_has_role(r.oid, current_user, 'MEMBER')
                AND (current_setting('server_version_num')::int < 160000 OR pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION'))
            )
        );
        FOREACH one IN ARRAY lent LOOP EXECUTE format('GRANT %I TO CURRENT_USER', one); END LOOP;
        {body}
        FOREACH one IN ARRAY lent LOOP EXECUTE format('REVOKE %I FROM CURRENT_USER', one); END LOOP;"
    );
    block(id, Absent::Fine, "heir name; here record; lent name[]; one name;", &body, "")
}

/// Deletes.
pub fn drop_role(id: Oid) -> String {
    // A role that is gone has no name to compare: that it is this one is checked here.
    let whole = format!(
        "DECLARE login name;
        BEGIN
            SELECT rolname INTO login FROM pg_roles WHERE oid = {id};
            IF login IS NULL THEN RETURN; END IF;
            EXECUTE format('DROP ROLE %I', login);
            IF EXISTS (SELECT FROM pg_roles WHERE oid = {id}) THEN
                RAISE serialization_failure USING MESSAGE = 'the role was renamed meanwhile';
            END IF;
        END"
    );
    format!("DO {}", escape_literal(&whole))
}
