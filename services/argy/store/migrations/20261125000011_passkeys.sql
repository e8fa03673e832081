-- Passkeys, the handles that authenticators know people by, and links by mail.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

-- 64 random bytes a user (WebAuthn Level 3, 4.: user handle): it tells nothing of who they are.
CREATE TABLE authn.user_handle (
  tenant_id uuid NOT NULL
    CONSTRAINT user_handle_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  user_id uuid NOT NULL,
  handle bytea NOT NULL
    CONSTRAINT user_handle_size CHECK (octet_length(handle) BETWEEN 1 AND 64),
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT user_handle_pkey PRIMARY KEY (tenant_id, user_id),
  CONSTRAINT user_handle_handle_key UNIQUE (tenant_id, handle),
  CONSTRAINT user_handle_user_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES directory.user_account ON DELETE CASCADE
);

CREATE TABLE authn.passkey (
  tenant_id uuid NOT NULL
    CONSTRAINT passkey_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  name text NOT NULL CONSTRAINT passkey_name_length CHECK (length(name) BETWEEN 1 AND 100),
  -- As the authenticator gave them: a credential id, and a public key in COSE form.
  credential_id bytea NOT NULL
    CONSTRAINT passkey_credential_id_size CHECK (octet_length(credential_id) BETWEEN 1 AND 1023),
  public_key bytea NOT NULL
    CONSTRAINT passkey_public_key_size CHECK (octet_length(public_key) BETWEEN 1 AND 4096),
  sign_count bigint NOT NULL CONSTRAINT passkey_sign_count_range
    CHECK (sign_count BETWEEN 0 AND 4294967295),
  aaguid uuid NOT NULL,
  -- How the browser may reach it, with commas between: a hint for later ceremonies.
  transports text NOT NULL DEFAULT '' CONSTRAINT passkey_transports_length
    CHECK (length(transports) <= 100),
  -- Whether it can be synced between devices never changes; whether it is, does.
  backup_eligible boolean NOT NULL,
  backed_up boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  last_used_at timestamptz,
  -- Its signature counter went back.
  blocked_at timestamptz,
  CONSTRAINT passkey_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT passkey_credential_id_key UNIQUE (tenant_id, credential_id),
  CONSTRAINT passkey_user_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES authn.user_handle ON DELETE CASCADE,
  CONSTRAINT passkey_backed_up_eligible CHECK (backup_eligible OR NOT backed_up)
);
CREATE INDEX passkey_user_idx ON authn.passkey (tenant_id, user_id, id);

-- A link that was asked for with nobody's address has no user: it is written all the same, so that
-- the work is the same, and its secret is told to nobody.
CREATE TABLE authn.magic_link (
  tenant_id uuid NOT NULL
    CONSTRAINT magic_link_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  id uuid NOT NULL,
  user_id uuid,
  purpose text NOT NULL CONSTRAINT magic_link_purpose_known
    CHECK (purpose IN ('sign_in', 'invitation', 'recovery')),
  -- SHA-256 of the link's secret, and of the secret in the cookie of the browser that asked.
  digest text NOT NULL CONSTRAINT magic_link_digest_form CHECK (digest ~ '^[0-9a-f]{64}$'),
  browser_digest text NOT NULL DEFAULT '' CONSTRAINT magic_link_browser_digest_form
    CHECK (browser_digest ~ '^([0-9a-f]{64})?$'),
  ip text NOT NULL DEFAULT '' CONSTRAINT magic_link_ip_length CHECK (length(ip) <= 64),
  user_agent text NOT NULL DEFAULT '' CONSTRAINT magic_link_user_agent_length
    CHECK (length(user_agent) <= 512),
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at timestamptz,
  CONSTRAINT magic_link_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT magic_link_digest_key UNIQUE (tenant_id, digest),
  CONSTRAINT magic_link_user_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES directory.user_account ON DELETE CASCADE
);
CREATE INDEX magic_link_user_idx ON authn.magic_link (tenant_id, user_id);
CREATE INDEX magic_link_expires_idx ON authn.magic_link (tenant_id, expires_at);

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['user_handle', 'passkey', 'magic_link'] LOOP
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

-- Who was disabled or deleted is announced at the commit, so that sessions end at once.
CREATE FUNCTION directory.announce_user_gone() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
  PERFORM pg_catalog.pg_notify('user_gone', OLD.tenant_id::text || ' ' || OLD.user_id::text);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION directory.announce_user_gone() FROM PUBLIC;
CREATE TRIGGER user_account_announce_disabled AFTER UPDATE OF state ON directory.user_account
  FOR EACH ROW WHEN (NEW.state <> 'ACTIVE') EXECUTE FUNCTION directory.announce_user_gone();
CREATE TRIGGER user_account_announce_deleted AFTER DELETE ON directory.user_account
  FOR EACH ROW EXECUTE FUNCTION directory.announce_user_gone();

GRANT SELECT, INSERT ON authn.user_handle TO argy_authn;
GRANT SELECT, INSERT, DELETE,
  UPDATE (name, sign_count, backed_up, last_used_at, blocked_at) ON authn.passkey TO argy_authn;
GRANT SELECT, INSERT, DELETE, UPDATE (used_at) ON authn.magic_link TO argy_authn;

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
DROP TRIGGER user_account_announce_deleted ON directory.user_account;
DROP TRIGGER user_account_announce_disabled ON directory.user_account;
DROP FUNCTION directory.announce_user_gone();
DROP TABLE authn.magic_link, authn.passkey, authn.user_handle;
