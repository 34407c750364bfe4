BEGIN TRANSACTION;
CREATE TABLE audit (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL,
        reason TEXT NOT NULL, hash TEXT NOT NULL DEFAULT '');
INSERT INTO "audit" VALUES(1,'2026-11-28T10:14:58.352Z','root','calibration.keep','tags','not yet confirmed','010372f48731fa32a30e0f90b44b213df3e36b8a76dd2d155808e90c9cbf5b68');
INSERT INTO "audit" VALUES(2,'2026-11-28T10:14:58.389Z','root','calibration.keep','tags','confirmed','eddccfa69868befcfe914baeeb5c51ed6181db95aa27901601d52f61b8f77cfd');
INSERT INTO "audit" VALUES(3,'2026-11-28T10:15:20.108Z','root','calibration.keep','manual','not yet confirmed','98066bcffda632358acee6bb6136f58f86450e3676bc5646a0a1bcd583ce0d0d');
INSERT INTO "audit" VALUES(4,'2026-11-28T10:15:24.979Z','root','settings.change','site.toml','bed.height 0.55 → 0.62','9e68596e84426aedb9f0f32de1584a9a3f157d867467a1b11d98c372a6f29c86');
INSERT INTO "audit" VALUES(5,'2026-11-28T10:15:25.095Z','root','settings.change','site.toml','synthesis.count 400 → 40','5508093cacaa09dcb7d9255394ca0ff5190ea9d64f7aa844e6a6925307a0cebf');
INSERT INTO "audit" VALUES(6,'2026-11-28T10:15:25.150Z','root','model.promote','person-detector','{"reasons": ["passed: better at this bedside"], "before": {"person_score": 0.5}, "after": {"person_score": 0.7}}','0488689b292b1ec457c4ceabb960073a7e7dddfff05eb5cbb82cfa910ada61f7');
INSERT INTO "audit" VALUES(7,'2026-11-28T10:15:25.288Z','root','job.submit','evaluate','{"data": "/nowhere/annotations.json", "model": "nobody"}','9f0ebd7f563ad62ae872f48f6c9bf50bfe4275347d5be3e48f9521093b4b3aa6');
INSERT INTO "audit" VALUES(8,'2026-11-28T10:15:25.349Z','root','job.submit','synth','{"count": 3, "scenario": "site", "seed": 5}','b0e5996467666bdb99976d443ce6a763c6f6f5cfdf325d7819a67437a830be35');
INSERT INTO "audit" VALUES(9,'2026-11-28T10:15:25.385Z','root','job.cancel','#2 synth','','de66592c4d1cc8ff2b600f6c5abc68595312e94472d97c5dc3fe064b207321ff');
INSERT INTO "audit" VALUES(10,'2026-11-28T10:15:27.980Z','root','service.stop','','','1eff2a63a0275878b5981b1ce97f3e8e9a7ad857da3f87f8641c6e1914e8bb83');
INSERT INTO "audit" VALUES(11,'2026-11-28T10:15:28.036Z','root','camera.look','simulated','a look of the earlier version','d321c090f8a9440c29302e8c53028a682aefb682ca07f540ccab54e72adfbeb1');
CREATE TABLE audit_head (only INTEGER PRIMARY KEY CHECK (only = 1), row INTEGER NOT NULL, hash TEXT NOT NULL);
INSERT INTO "audit_head" VALUES(1,11,'d321c090f8a9440c29302e8c53028a682aefb682ca07f540ccab54e72adfbeb1');
CREATE TABLE calibrations (
        id INTEGER PRIMARY KEY, made_at TEXT NOT NULL, method TEXT NOT NULL, file TEXT NOT NULL,
        confirmed INTEGER NOT NULL DEFAULT 0, reprojection_px REAL NOT NULL);
INSERT INTO "calibrations" VALUES(1,'2026-11-28T10:14:58.349Z','tags','calibrations/2026-11-28T101458-349Z-tags.json',0,1.29899544767265701095e-01);
INSERT INTO "calibrations" VALUES(2,'2026-11-28T10:14:58.384Z','tags','calibrations/2026-11-28T101458-384Z-tags.json',1,1.29899544767265701095e-01);
INSERT INTO "calibrations" VALUES(3,'2026-11-28T10:15:20.090Z','manual','calibrations/2026-11-28T101520-090Z-manual.json',0,0.0);
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
        error TEXT NOT NULL DEFAULT '', asked_by TEXT NOT NULL DEFAULT '', outcome TEXT NOT NULL DEFAULT '');
INSERT INTO "jobs" VALUES(1,'evaluate','Evaluating','{"data": "/nowhere/annotations.json", "model": "nobody"}','failed',1,1,'2026-11-28T10:15:25.287Z','2026-11-28T10:15:26.674Z','2026-11-28T10:15:27.785Z','9b5cee78-baf5-4bf2-98d7-2671fde18f9e:3668:2650109',1,0,0,0,'','','no model is called ''nobody''; choose one of: person-detector','root','');
INSERT INTO "jobs" VALUES(2,'synth','Making training images','{"count": 3, "scenario": "site", "seed": 5}','cancelled',1,1,'2026-11-28T10:15:25.348Z','','2026-11-28T10:15:25.385Z','',0,0,0,0,'','','','root','');
CREATE TABLE models (
        name TEXT PRIMARY KEY, added_at TEXT NOT NULL, task TEXT NOT NULL, folder TEXT NOT NULL,
        sha256 TEXT NOT NULL, origin TEXT NOT NULL);
CREATE TABLE noted (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "noted" VALUES('settings','{"hash": "272c51625803ffa4d53dac2f753ae1a17e2121144ac227e1a53bce0547cd9583", "values": {"bed": {"length": 2.0, "width": 0.9, "height": 0.62, "backrest_deg": 0.0}, "camera": {"source": "simulated"}, "synthesis": {"count": 40, "seed": 1, "workers": 0}, "tuning": {"base": "nanodet", "pose_base": "movenet-thunder", "epochs": 1, "batch": 0, "image_size": 0, "learning_rate": 0.0, "freeze": -1}, "live": {"detector": "", "pose": "", "engine": ""}, "display": {"port": 8765}}}');
CREATE TABLE promotions (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, task TEXT NOT NULL, model TEXT NOT NULL, previous TEXT NOT NULL,
        accepted INTEGER NOT NULL, reasons TEXT NOT NULL, who TEXT NOT NULL);
INSERT INTO "promotions" VALUES(1,'2026-11-28T10:15:25.150Z','detect','person-detector','person-detector',1,'{"reasons": ["passed: better at this bedside"], "before": {"person_score": 0.5}, "after": {"person_score": 0.7}}','root');
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
PRAGMA user_version = 5;
COMMIT;
