//! The tables, in steps: each brings a database from one version to the next, and is never changed once released.
//!
//! Plain types that both databases have: BIGINT (whole numbers, seconds since 1970), TEXT, BYTEA (SQLite's BLOB).

/// The steps, the first for an empty database.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BIGINT NOT NULL);
    INSERT INTO meta VALUES ('event', 0);

    CREATE TABLE site (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, zone TEXT NOT NULL, grp TEXT NOT NULL, added BIGINT NOT NULL,
        last_contact BIGINT, last_report BIGINT
    );
    CREATE INDEX site_grp ON site (grp);
    CREATE TABLE appliance (
        site TEXT NOT NULL REFERENCES site ON DELETE CASCADE, id TEXT NOT NULL, name TEXT NOT NULL, state TEXT, since BIGINT NOT NULL,
        power BIGINT, rated BIGINT, importance TEXT, flexibility TEXT, consents BIGINT NOT NULL, made BIGINT NOT NULL,
        PRIMARY KEY (site, id)
    );
    CREATE TABLE batch (
        site TEXT NOT NULL REFERENCES site ON DELETE CASCADE, number BIGINT NOT NULL, taken BIGINT NOT NULL,
        PRIMARY KEY (site, number)
    );
    CREATE INDEX batch_taken ON batch (taken);
    CREATE TABLE consumption (
        site TEXT NOT NULL, meter TEXT NOT NULL, start BIGINT NOT NULL, length BIGINT NOT NULL, wh BIGINT NOT NULL,
        PRIMARY KEY (site, meter, start)
    );
    CREATE INDEX consumption_start ON consumption (start);
    CREATE TABLE gap (
        site TEXT NOT NULL, meter TEXT NOT NULL, start BIGINT NOT NULL, stop BIGINT NOT NULL, reason BIGINT NOT NULL,
        PRIMARY KEY (site, meter, start)
    );
    CREATE INDEX gap_stop ON gap (stop);

    CREATE TABLE price (
        zone TEXT NOT NULL, version BIGINT NOT NULL, start BIGINT NOT NULL, stop BIGINT NOT NULL, published BIGINT NOT NULL,
        publisher TEXT NOT NULL, content BYTEA NOT NULL, PRIMARY KEY (zone, version)
    );
    CREATE TABLE object (
        path TEXT PRIMARY KEY, version BIGINT NOT NULL, content BYTEA NOT NULL, etag TEXT NOT NULL, made BIGINT NOT NULL
    );

    CREATE TABLE demand_limit (
        id BIGINT PRIMARY KEY, target TEXT NOT NULL, start BIGINT NOT NULL, duration BIGINT, watts BIGINT NOT NULL, priority BIGINT NOT NULL,
        randomise BIGINT NOT NULL, supersedes BIGINT, made BIGINT NOT NULL, made_by TEXT NOT NULL, reason TEXT NOT NULL,
        ended BIGINT, superseded_by BIGINT
    );
    CREATE INDEX demand_limit_target ON demand_limit (target, id);
    CREATE TABLE limit_version (target TEXT PRIMARY KEY, version BIGINT NOT NULL);
    CREATE TABLE limit_response (
        id BIGINT NOT NULL, site TEXT NOT NULL, at BIGINT NOT NULL, kind TEXT NOT NULL, code BIGINT, reason TEXT NOT NULL,
        PRIMARY KEY (id, site)
    );
    CREATE TABLE control (
        id BIGINT PRIMARY KEY, site TEXT NOT NULL, appliance TEXT NOT NULL, action TEXT NOT NULL, expires BIGINT NOT NULL,
        made BIGINT NOT NULL, made_by TEXT NOT NULL, reason TEXT NOT NULL,
        progress TEXT NOT NULL, progressed BIGINT NOT NULL, code BIGINT, why TEXT NOT NULL
    );
    CREATE INDEX control_site ON control (site, id);

    CREATE TABLE change (
        id BIGINT PRIMARY KEY, at BIGINT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL
    );
    CREATE TABLE operator (
        name TEXT PRIMARY KEY, role TEXT NOT NULL, token_id TEXT NOT NULL UNIQUE, token_hash BYTEA NOT NULL, made BIGINT NOT NULL,
        made_by TEXT NOT NULL
    );
    CREATE TABLE rule_memory (name TEXT PRIMARY KEY, version BIGINT NOT NULL, memory TEXT NOT NULL, why TEXT NOT NULL);
", "
    CREATE TABLE channel (
        site TEXT PRIMARY KEY REFERENCES site ON DELETE CASCADE, lineage BIGINT NOT NULL, taken BYTEA NOT NULL, sent BIGINT NOT NULL,
        renew BIGINT NOT NULL, host TEXT, polled BIGINT, called BIGINT
    );
    CREATE TABLE statement (
        subject TEXT NOT NULL, lineage BIGINT NOT NULL, serial BIGINT NOT NULL, kid BYTEA NOT NULL, content BYTEA NOT NULL,
        taken BIGINT NOT NULL, until BIGINT, PRIMARY KEY (subject, lineage, serial)
    );
    CREATE TABLE evidence (
        site TEXT NOT NULL, taken BIGINT NOT NULL, seq BIGINT NOT NULL, lineage BIGINT NOT NULL, serial BIGINT NOT NULL,
        message BYTEA NOT NULL, salt BYTEA NOT NULL, body BYTEA NOT NULL, PRIMARY KEY (site, taken, seq, lineage)
    );
    CREATE INDEX evidence_taken ON evidence (taken);
    CREATE TABLE membership (
        id BIGINT PRIMARY KEY, version BIGINT NOT NULL, record BYTEA NOT NULL, holder TEXT NOT NULL, held_until BIGINT NOT NULL
    );
", "
    CREATE TABLE decision (
        site TEXT NOT NULL REFERENCES site ON DELETE CASCADE, batch BIGINT NOT NULL, n BIGINT NOT NULL, at BIGINT NOT NULL,
        appliance TEXT NOT NULL, action TEXT NOT NULL, cause TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL,
        PRIMARY KEY (site, batch, n)
    );
    CREATE INDEX decision_site ON decision (site, at);
    CREATE INDEX decision_at ON decision (at);
"];
