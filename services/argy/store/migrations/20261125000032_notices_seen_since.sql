-- Since when the oldest proof exists by which a security notice was acknowledged. Notices that were
-- acknowledged before this column, or by servers that don't know it, count as seen by all proofs.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

ALTER TABLE authn.security_notice ADD COLUMN seen_since timestamptz;
GRANT UPDATE (seen_since) ON authn.security_notice TO argy_authn;

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;
ALTER TABLE authn.security_notice DROP COLUMN seen_since;
RESET ROLE;
