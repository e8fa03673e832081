-- How whoever approved a policy had signed in then: the rules of the day of activation are asked it.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

-- What conditions saw as ctx.auth; null for who brought no token, and for what was given before this
-- was kept, which counts as if none had been brought.
-- squawk-ignore-file constraint-missing-not-valid
ALTER TABLE authz.policy_approval
  ADD COLUMN signed_in jsonb
    CONSTRAINT policy_approval_signed_in_form
    CHECK (jsonb_typeof(signed_in) = 'object' AND length(signed_in::text) <= 4096);
-- The same person may approve the same diff again, by a better proof.
GRANT UPDATE (comment, statement, signed_in, created_at) ON authz.policy_approval TO argy_authz;

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
REVOKE UPDATE (comment, statement, created_at) ON authz.policy_approval FROM argy_authz;
ALTER TABLE authz.policy_approval DROP COLUMN signed_in;
