-- How people of a tenant sign in, as the tenant set it.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

-- A tenant without a row has the defaults.
CREATE TABLE authn.sign_in_policy (
  tenant_id uuid NOT NULL
    CONSTRAINT sign_in_policy_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  -- Counts the changes: the etag.
  revision bigint NOT NULL CONSTRAINT sign_in_policy_revision_range CHECK (revision >= 1),
  links text NOT NULL CONSTRAINT sign_in_policy_links_known CHECK (links IN ('ON', 'OFF')),
  -- UUIDs with spaces between.
  passkey_aaguids text NOT NULL CONSTRAINT sign_in_policy_passkey_aaguids_length
    CHECK (length(passkey_aaguids) <= 3700),
  passkey_attestation text NOT NULL CONSTRAINT sign_in_policy_passkey_attestation_known
    CHECK (passkey_attestation IN ('NONE', 'REQUIRED')),
  -- Certificates in PEM, one after the other.
  passkey_attestation_roots text NOT NULL CONSTRAINT sign_in_policy_roots_length
    CHECK (length(passkey_attestation_roots) <= 327680),
  session_idle_minutes bigint NOT NULL CONSTRAINT sign_in_policy_session_idle_range
    CHECK (session_idle_minutes BETWEEN 0 AND 10080),
  session_max_minutes bigint NOT NULL CONSTRAINT sign_in_policy_session_max_range
    CHECK (session_max_minutes BETWEEN 0 AND 10080),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT sign_in_policy_pkey PRIMARY KEY (tenant_id),
  -- Nothing else stands between "required" and anybody's certificate.
  CONSTRAINT sign_in_policy_attestation_rooted CHECK (
    passkey_attestation = 'NONE'
    OR (passkey_aaguids <> '' AND passkey_attestation_roots <> '')
  )
);
ALTER TABLE authn.sign_in_policy ENABLE ROW LEVEL SECURITY;
ALTER TABLE authn.sign_in_policy FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON authn.sign_in_policy
USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
GRANT SELECT, INSERT, UPDATE (
  revision, links, passkey_aaguids, passkey_attestation, passkey_attestation_roots,
  session_idle_minutes, session_max_minutes, updated_at
) ON authn.sign_in_policy TO argy_authn;

-- Whether its authenticator proved its model when it was registered.
ALTER TABLE authn.passkey ADD COLUMN attested boolean NOT NULL DEFAULT false;

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
ALTER TABLE authn.passkey DROP COLUMN attested;
DROP TABLE authn.sign_in_policy;
