-- Who acts for whom, by which service, and whom an event is about: columns, not details.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

ALTER TABLE audit.event
  -- The service that made the call, where the actor is somebody else.
  ADD COLUMN via text NOT NULL DEFAULT '' CONSTRAINT event_via_length CHECK (length(via) <= 256),
  -- Whom the event is about: who gets a role, whose decision it is.
  ADD COLUMN subject text NOT NULL DEFAULT '' CONSTRAINT event_subject_length
    CHECK (length(subject) <= 512),
  -- What was asked of a decision, as type:action.
  ADD COLUMN permission text NOT NULL DEFAULT '' CONSTRAINT event_permission_length
    CHECK (length(permission) <= 768);

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX event_on_behalf_of_idx ON audit.event (tenant_id, on_behalf_of, id)
  WHERE on_behalf_of <> '';

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
DROP INDEX audit.event_on_behalf_of_idx;
ALTER TABLE audit.event DROP COLUMN permission, DROP COLUMN subject, DROP COLUMN via;
