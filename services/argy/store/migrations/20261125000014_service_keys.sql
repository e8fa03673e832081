-- Service keys are credentials too: their secrets are derived, generation by generation, not drawn.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

-- Counts a service key's secrets; none for kinds whose secret is random.
ALTER TABLE authn.credential ADD COLUMN generation bigint;

-- Widened in one step, so that nothing is ever unchecked: 25 rows a subject are looked through soon,
-- and the timeouts above bound what waits meanwhile.
-- squawk-ignore-file ban-drop-constraint, constraint-missing-not-valid
ALTER TABLE authn.credential
  DROP CONSTRAINT credential_kind_known,
  DROP CONSTRAINT credential_subject_form,
  ADD CONSTRAINT credential_kind_known CHECK (kind IN ('TOKEN', 'KEY', 'SERVICE')),
  ADD CONSTRAINT credential_subject_form CHECK (
    length(subject) <= 256 AND subject ~ '^(user|agent|service):[A-Za-z0-9._@+-]+$'
  ),
  ADD CONSTRAINT credential_service CHECK ((kind = 'SERVICE') = (subject LIKE 'service:%')),
  ADD CONSTRAINT credential_generation CHECK (
    (kind = 'SERVICE') = (generation IS NOT NULL) AND generation BETWEEN 1 AND 999999
  );

GRANT UPDATE (generation) ON authn.credential TO argy_authn;

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
ALTER TABLE authn.credential
  DROP CONSTRAINT credential_service,
  DROP COLUMN generation,
  DROP CONSTRAINT credential_kind_known,
  ADD CONSTRAINT credential_kind_known CHECK (kind IN ('TOKEN', 'KEY')),
  DROP CONSTRAINT credential_subject_form,
  ADD CONSTRAINT credential_subject_form CHECK (
    length(subject) <= 256 AND subject ~ '^(user|agent):[A-Za-z0-9._@+-]+$'
  );
