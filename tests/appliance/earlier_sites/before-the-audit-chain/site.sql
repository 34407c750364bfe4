BEGIN TRANSACTION;
CREATE TABLE audit (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL,
        reason TEXT NOT NULL);
INSERT INTO "audit" VALUES(1,'2026-11-28T10:16:56.605Z','root','calibration.keep','tags','not yet confirmed');
INSERT INTO "audit" VALUES(2,'2026-11-28T10:16:56.613Z','root','calibration.keep','tags','confirmed');
INSERT INTO "audit" VALUES(3,'2026-11-28T10:17:20.808Z','root','calibration.keep','manual','not yet confirmed');
INSERT INTO "audit" VALUES(4,'2026-11-28T10:17:26.572Z','root','model.promote','person-detector','{"reasons": ["passed: better at this bedside"], "before": {"person_score": 0.5}, "after": {"person_score": 0.7}}');
INSERT INTO "audit" VALUES(5,'2026-11-28T10:17:28.524Z','root','camera.look','simulated','a look of the earlier version');
CREATE TABLE calibrations (
        id INTEGER PRIMARY KEY, made_at TEXT NOT NULL, method TEXT NOT NULL, file TEXT NOT NULL,
        confirmed INTEGER NOT NULL DEFAULT 0, reprojection_px REAL NOT NULL);
INSERT INTO "calibrations" VALUES(1,'2026-11-28T10:16:56.601Z','tags','calibrations/2026-11-28T101656-601Z-tags.json',0,1.29899544767265701095e-01);
INSERT INTO "calibrations" VALUES(2,'2026-11-28T10:16:56.610Z','tags','calibrations/2026-11-28T101656-610Z-tags.json',1,1.29899544767265701095e-01);
INSERT INTO "calibrations" VALUES(3,'2026-11-28T10:17:20.730Z','manual','calibrations/2026-11-28T101720-730Z-manual.json',0,0.0);
CREATE TABLE datasets (
        id INTEGER PRIMARY KEY, made_at TEXT NOT NULL, folder TEXT NOT NULL, scenario TEXT NOT NULL,
        images INTEGER NOT NULL, seed INTEGER NOT NULL);
CREATE TABLE jobs (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, title TEXT NOT NULL, parameters TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'queued', heavy INTEGER NOT NULL, resumable INTEGER NOT NULL,
        created_at TEXT NOT NULL, started_at TEXT NOT NULL DEFAULT '', finished_at TEXT NOT NULL DEFAULT '',
        process TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0,
        cancel_requested INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0,
        total INTEGER NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT '', result TEXT NOT NULL DEFAULT '',
        error TEXT NOT NULL DEFAULT '');
INSERT INTO "jobs" VALUES(1,'evaluate','Evaluating','{"data": "/nowhere/annotations.json", "model": "nobody"}','failed',1,1,'2026-11-28T10:17:26.696Z','2026-11-28T10:17:27.745Z','2026-11-28T10:17:28.366Z','9b5cee78-baf5-4bf2-98d7-2671fde18f9e:4342:2662215',1,0,0,0,'','','no model is called ''nobody''; choose one of: person-detector');
INSERT INTO "jobs" VALUES(2,'synth','Making training images','{"count": 3, "scenario": "site", "seed": 5}','cancelled',1,1,'2026-11-28T10:17:26.724Z','','2026-11-28T10:17:26.740Z','',0,0,0,0,'','','');
CREATE TABLE models (
        name TEXT PRIMARY KEY, added_at TEXT NOT NULL, task TEXT NOT NULL, folder TEXT NOT NULL,
        sha256 TEXT NOT NULL, origin TEXT NOT NULL);
CREATE TABLE promotions (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, task TEXT NOT NULL, model TEXT NOT NULL, previous TEXT NOT NULL,
        accepted INTEGER NOT NULL, reasons TEXT NOT NULL, who TEXT NOT NULL);
INSERT INTO "promotions" VALUES(1,'2026-11-28T10:17:26.538Z','detect','person-detector','person-detector',1,'{"reasons": ["passed: better at this bedside"], "before": {"person_score": 0.5}, "after": {"person_score": 0.7}}','root');
CREATE TABLE recordings (
        id INTEGER PRIMARY KEY, made_at TEXT NOT NULL, file TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,
        expires_at TEXT NOT NULL, state TEXT NOT NULL, process TEXT NOT NULL);
CREATE TABLE runs (
        id INTEGER PRIMARY KEY, made_at TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL,
        data TEXT NOT NULL, figures TEXT NOT NULL);
CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_keeps_words BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
PRAGMA user_version = 2;
COMMIT;
