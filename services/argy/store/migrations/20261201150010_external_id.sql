-- What another system calls a person: SCIM's externalId, the sub of an identity provider.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

-- Empty for people whom no other system names.
ALTER TABLE directory.user_account ADD COLUMN external_id text NOT NULL DEFAULT ''
  CONSTRAINT user_account_external_id_length CHECK (octet_length(external_id) <= 255);
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX user_account_external_id_key ON directory.user_account (tenant_id, external_id)
  WHERE external_id <> '';
GRANT UPDATE (external_id) ON directory.user_account TO argy_directory;

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
ALTER TABLE directory.user_account DROP COLUMN external_id;
