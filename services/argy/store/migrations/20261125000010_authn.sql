-- Sign-in: its role, the keys that sign access tokens, and refresh tokens.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
DO $$
BEGIN
  BEGIN
    CREATE ROLE argy_authn NOLOGIN;
  EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of this cluster made it
  END;
  IF NOT pg_has_role('argy_authn', 'argy_audit_writer', 'MEMBER') THEN
    GRANT argy_audit_writer TO argy_authn;
  END IF;
  IF NOT pg_has_role('argy_authn', 'argy_tenant_reader', 'MEMBER') THEN
    GRANT argy_tenant_reader TO argy_authn;
  END IF;
END
$$;
CREATE SCHEMA authn;
ALTER SCHEMA authn OWNER TO argy_owner;
SET LOCAL ROLE argy_owner;

GRANT USAGE ON SCHEMA authn TO argy_authn;
-- Whom a token is for, whether they may still have one, and the revision of their roles.
GRANT USAGE ON SCHEMA directory, authz TO argy_authn;
GRANT SELECT (tenant_id, user_id, email, email_key, display_name, state)
  ON directory.user_account TO argy_authn;
GRANT SELECT ON authz.tenant_revision TO argy_authn;

-- The platform's own rows: one key signs for every tenant, those before it verify until the last
-- token that they signed has ended.
CREATE TABLE authn.signing_key (
  tenant_id uuid NOT NULL
    CONSTRAINT signing_key_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  -- The JWK thumbprint of the public key (RFC 7638).
  kid text NOT NULL CONSTRAINT signing_key_kid_form CHECK (kid ~ '^[A-Za-z0-9_-]{16,64}$'),
  -- JWK JSON (RFC 7517), public members only.
  public_jwk text NOT NULL CONSTRAINT signing_key_public_jwk_size
    CHECK (octet_length(public_jwk) BETWEEN 2 AND 8192),
  -- PKCS #8 under the envelope of argy.base.envelope.
  sealed_private bytea NOT NULL CONSTRAINT signing_key_sealed_private_size
    CHECK (octet_length(sealed_private) BETWEEN 1 AND 16384),
  created_at timestamptz NOT NULL DEFAULT now(),
  -- When it stopped to sign; null for the one that signs.
  retired_at timestamptz,
  CONSTRAINT signing_key_pkey PRIMARY KEY (tenant_id, kid)
);
CREATE UNIQUE INDEX signing_key_one_signs ON authn.signing_key (tenant_id)
  WHERE retired_at IS NULL;

-- Tokens of one sign-in are a family: each is traded once for the next.
CREATE TABLE authn.refresh_token (
  tenant_id uuid NOT NULL
    CONSTRAINT refresh_token_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  id uuid NOT NULL,
  family_id uuid NOT NULL,
  -- SHA-256 of the token.
  digest text NOT NULL CONSTRAINT refresh_token_digest_form CHECK (digest ~ '^[0-9a-f]{64}$'),
  user_id uuid NOT NULL,
  org_id uuid,
  session_id uuid NOT NULL,
  client_id text NOT NULL CONSTRAINT refresh_token_client_id_length
    CHECK (length(client_id) BETWEEN 1 AND 64),
  scope text NOT NULL CONSTRAINT refresh_token_scope_length CHECK (length(scope) <= 1024),
  acr text NOT NULL CONSTRAINT refresh_token_acr_length CHECK (length(acr) BETWEEN 1 AND 128),
  -- Methods, separated by spaces.
  amr text NOT NULL CONSTRAINT refresh_token_amr_length CHECK (length(amr) BETWEEN 1 AND 256),
  auth_time timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  used_at timestamptz,
  revoked_at timestamptz,
  CONSTRAINT refresh_token_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT refresh_token_digest_key UNIQUE (tenant_id, digest),
  CONSTRAINT refresh_token_user_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES directory.user_account ON DELETE CASCADE,
  CONSTRAINT refresh_token_org_fkey FOREIGN KEY (tenant_id, org_id)
    REFERENCES directory.org ON DELETE CASCADE
);
CREATE INDEX refresh_token_family_idx ON authn.refresh_token (tenant_id, family_id);
CREATE INDEX refresh_token_session_idx ON authn.refresh_token (tenant_id, session_id);
CREATE INDEX refresh_token_user_idx ON authn.refresh_token (tenant_id, user_id);
CREATE INDEX refresh_token_org_idx ON authn.refresh_token (tenant_id, org_id);

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['signing_key', 'refresh_token'] LOOP
    EXECUTE format('ALTER TABLE authn.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE authn.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format($policy$
      CREATE POLICY tenant_rows ON authn.%I
      USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
      WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
    $policy$, name);
  END LOOP;
END
$$;

GRANT SELECT, INSERT, DELETE, UPDATE (retired_at, sealed_private) ON authn.signing_key TO argy_authn;
GRANT SELECT, INSERT, DELETE, UPDATE (used_at, revoked_at) ON authn.refresh_token TO argy_authn;

RESET ROLE;

-- migrate:down
REVOKE SELECT (tenant_id, user_id, email, email_key, display_name, state)
  ON directory.user_account FROM argy_authn;
REVOKE SELECT ON authz.tenant_revision FROM argy_authn;
REVOKE USAGE ON SCHEMA directory, authz FROM argy_authn;
DROP SCHEMA authn CASCADE;
