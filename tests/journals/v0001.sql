BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE attempts (
	attempt_id INTEGER NOT NULL, 
	delivery_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	ended_at BIGINT NOT NULL, 
	duration_ms INTEGER NOT NULL, 
	result VARCHAR(16) NOT NULL, 
	code INTEGER, 
	reply TEXT NOT NULL, 
	PRIMARY KEY (attempt_id), 
	FOREIGN KEY(delivery_id) REFERENCES deliveries (delivery_id)
);
INSERT INTO "attempts" VALUES(1,1,1,1795170660123,800,'delivered',250,'ok');
INSERT INTO "attempts" VALUES(2,2,1,1795170660123,800,'delivered',250,'ok');
INSERT INTO "attempts" VALUES(3,3,1,1795170660123,90,'bounced',550,'no such user');
INSERT INTO "attempts" VALUES(4,4,1,1795170660123,90,'deferred',451,'greylisted');
INSERT INTO "attempts" VALUES(5,8,1,1795170600123,5,'held',NULL,'no such file');
CREATE TABLE deliveries (
	delivery_id INTEGER NOT NULL, 
	message_id VARCHAR(26) NOT NULL, 
	recipient VARCHAR(320) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	attempts INTEGER NOT NULL, 
	crashes INTEGER NOT NULL, 
	queued_at BIGINT NOT NULL, 
	due_at BIGINT NOT NULL, 
	lease_until BIGINT, 
	code INTEGER, 
	reply TEXT, 
	finished_at BIGINT, 
	PRIMARY KEY (delivery_id), 
	CONSTRAINT deliveries_once UNIQUE (message_id, recipient), 
	FOREIGN KEY(message_id) REFERENCES voicemails (message_id)
);
INSERT INTO "deliveries" VALUES(1,'01KABCDEFGHJKMNPQRSTVWXY00','anna@example.com','delivered',1,0,1795170600123,1795170600123,NULL,250,'ok',1795170660123);
INSERT INTO "deliveries" VALUES(2,'01KABCDEFGHJKMNPQRSTVWXY00','jan@example.com','delivered',1,0,1795170600123,1795170600123,NULL,250,'ok',1795170660123);
INSERT INTO "deliveries" VALUES(3,'01KABCDEFGHJKMNPQRSTVWXY01','anna@example.com','bounced',1,0,1795170600123,1795170600123,NULL,550,'no such user',1795170660123);
INSERT INTO "deliveries" VALUES(4,'01KABCDEFGHJKMNPQRSTVWXY01','jan@example.com','queued',1,0,1795170600123,1795170900123,NULL,451,'greylisted',NULL);
INSERT INTO "deliveries" VALUES(5,'01KABCDEFGHJKMNPQRSTVWXY02','anna@example.com','sending',1,0,1795170600123,1795170600123,1795174200123,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(6,'01KABCDEFGHJKMNPQRSTVWXY03','anna@example.com','queued',0,0,1795170660123,1795170660123,NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(7,'01KABCDEFGHJKMNPQRSTVWXY03','jan@example.com','queued',0,0,1795170660123,1795170660123,NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(8,'01KABCDEFGHJKMNPQRSTVWXY07','anna@example.com','held',1,0,1795170540123,1795170540123,NULL,NULL,'no such file',1795170600123);
CREATE TABLE voicemails (
	message_id VARCHAR(26) NOT NULL, 
	call_id VARCHAR(80) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	mailbox VARCHAR(32) NOT NULL, 
	reason VARCHAR(16) NOT NULL, 
	caller_number VARCHAR(40) NOT NULL, 
	caller_name VARCHAR(80) NOT NULL, 
	caller_withheld BOOLEAN NOT NULL, 
	dialled VARCHAR(40) NOT NULL, 
	language VARCHAR(8) NOT NULL, 
	queue VARCHAR(60) NOT NULL, 
	queue_wait_seconds INTEGER, 
	reference VARCHAR(60) NOT NULL, 
	arrived_at BIGINT NOT NULL, 
	recipients TEXT NOT NULL, 
	recording_file VARCHAR(80) NOT NULL, 
	duration_ms INTEGER, 
	size INTEGER, 
	sha256 VARCHAR(64), 
	repaired BOOLEAN, 
	ended_by VARCHAR(16), 
	result VARCHAR(32), 
	closed_at BIGINT, 
	audio_removed_at BIGINT, 
	PRIMARY KEY (message_id)
);
INSERT INTO "voicemails" VALUES('01KABCDEFGHJKMNPQRSTVWXY00','00000000-0000-4000-8000-000000000000','kept','sales','no-answer','+48601234567','Jan Delivered',0,'48221234567','pl','Sprzedaż',63,'ZAM-17',1795170600123,'["anna@example.com", "jan@example.com"]','sales.01KABCDEFGHJKMNPQRSTVWXY00.wav',21300,340844,'abababababababababababababababababababababababababababababababab',1,'key','recorded',1795170600123,1795170660123);
INSERT INTO "voicemails" VALUES('01KABCDEFGHJKMNPQRSTVWXY01','00000000-0000-4000-8000-000000000001','kept','sales','no-answer','+48601234567','Ewa Bounced',0,'48221234567','pl','Sprzedaż',63,'ZAM-17',1795170600123,'["anna@example.com", "jan@example.com"]','sales.01KABCDEFGHJKMNPQRSTVWXY01.wav',21300,340844,'abababababababababababababababababababababababababababababababab',1,'key','recorded',1795170600123,NULL);
INSERT INTO "voicemails" VALUES('01KABCDEFGHJKMNPQRSTVWXY02','00000000-0000-4000-8000-000000000002','kept','sales','no-answer','+48601234567','Ola Sending',0,'48221234567','pl','Sprzedaż',63,'ZAM-17',1795170600123,'["anna@example.com", "jan@example.com"]','sales.01KABCDEFGHJKMNPQRSTVWXY02.wav',21300,340844,'abababababababababababababababababababababababababababababababab',1,'key','recorded',1795170600123,NULL);
INSERT INTO "voicemails" VALUES('01KABCDEFGHJKMNPQRSTVWXY03','00000000-0000-4000-8000-000000000003','kept','sales','no-answer','+48601234567','Piotr Queued',0,'48221234567','pl','Sprzedaż',63,'ZAM-17',1795170660123,'["anna@example.com", "jan@example.com"]','sales.01KABCDEFGHJKMNPQRSTVWXY03.wav',21300,340844,'abababababababababababababababababababababababababababababababab',1,'key','recorded',1795170660123,NULL);
INSERT INTO "voicemails" VALUES('01KABCDEFGHJKMNPQRSTVWXY04','00000000-0000-4000-8000-000000000004','open','sales','no-answer','+48601234567','Adam Open',0,'48221234567','pl','Sprzedaż',63,'ZAM-17',1795170600123,'["anna@example.com", "jan@example.com"]','sales.01KABCDEFGHJKMNPQRSTVWXY04.wav',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "voicemails" VALUES('01KABCDEFGHJKMNPQRSTVWXY05','00000000-0000-4000-8000-000000000005','discarded','sales','no-answer','+48601234567','Iza Discarded',0,'48221234567','pl','Sprzedaż',63,'ZAM-17',1795170600123,'["anna@example.com", "jan@example.com"]','sales.01KABCDEFGHJKMNPQRSTVWXY05.wav',NULL,NULL,NULL,NULL,NULL,'hangup_in_greeting',1795170660123,NULL);
INSERT INTO "voicemails" VALUES('01KABCDEFGHJKMNPQRSTVWXY06','00000000-0000-4000-8000-000000000006','lost','sales','no-answer','+48601234567','Leon Lost',0,'48221234567','pl','Sprzedaż',63,'ZAM-17',1795170600123,'["anna@example.com", "jan@example.com"]','sales.01KABCDEFGHJKMNPQRSTVWXY06.wav',NULL,NULL,NULL,NULL,NULL,'record_failed',1795170660123,NULL);
INSERT INTO "voicemails" VALUES('01KABCDEFGHJKMNPQRSTVWXY07','00000000-0000-4000-8000-000000000007','kept','sales','no-answer','+48601234567','Held Hanna',0,'48221234567','pl','Sprzedaż',63,'ZAM-17',1795170540123,'["anna@example.com", "jan@example.com"]','sales.01KABCDEFGHJKMNPQRSTVWXY07.wav',21300,340844,'abababababababababababababababababababababababababababababababab',1,'key','recorded',1795170540123,NULL);
CREATE INDEX voicemails_call_id ON voicemails (call_id);
CREATE INDEX voicemails_state ON voicemails (state, arrived_at);
CREATE INDEX deliveries_due ON deliveries (state, due_at);
CREATE INDEX attempts_delivery ON attempts (delivery_id);
COMMIT;
