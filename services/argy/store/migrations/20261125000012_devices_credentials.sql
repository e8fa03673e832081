-- Codes of the device flow (RFC 8628), personal access tokens and API keys.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

CREATE TABLE authn.device_code (
  tenant_id uuid NOT NULL
    CONSTRAINT device_code_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  id uuid NOT NULL,
  -- SHA-256 of the device's code and of the person's.
  device_hash text NOT NULL CONSTRAINT device_code_device_hash_form
    CHECK (device_hash ~ '^[0-9a-f]{64}$'),
  user_hash text NOT NULL CONSTRAINT device_code_user_hash_form
    CHECK (user_hash ~ '^[0-9a-f]{64}$'),
  client_id text NOT NULL CONSTRAINT device_code_client_id_form
    CHECK (length(client_id) <= 64 AND client_id ~ '^[a-z][a-z0-9-]*$'),
  scope text NOT NULL DEFAULT '' CONSTRAINT device_code_scope_length CHECK (length(scope) <= 1024),
  ip text NOT NULL DEFAULT '' CONSTRAINT device_code_ip_length CHECK (length(ip) <= 64),
  user_agent text NOT NULL DEFAULT '' CONSTRAINT device_code_user_agent_length
    CHECK (length(user_agent) <= 512),
  state text NOT NULL DEFAULT 'PENDING' CONSTRAINT device_code_state_known
    CHECK (state IN ('PENDING', 'APPROVED', 'DENIED', 'REDEEMED')),
  -- Who decided, and how that person was signed in.
  user_id uuid,
  session_id text NOT NULL DEFAULT '' CONSTRAINT device_code_session_id_length
    CHECK (length(session_id) <= 64),
  acr text NOT NULL DEFAULT '' CONSTRAINT device_code_acr_length CHECK (length(acr) <= 128),
  auth_time timestamptz,
  -- Seconds that the device must let pass between polls; each poll that comes too soon adds five.
  interval_s bigint NOT NULL DEFAULT 5 CONSTRAINT device_code_interval_range
    CHECK (interval_s BETWEEN 1 AND 3600),
  polled_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  CONSTRAINT device_code_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT device_code_device_hash_key UNIQUE (tenant_id, device_hash),
  CONSTRAINT device_code_user_hash_key UNIQUE (tenant_id, user_hash),
  CONSTRAINT device_code_user_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES directory.user_account ON DELETE CASCADE,
  CONSTRAINT device_code_decided_by_somebody CHECK (state = 'PENDING' OR user_id IS NOT NULL)
);
CREATE INDEX device_code_user_idx ON authn.device_code (tenant_id, user_id);
CREATE INDEX device_code_expires_idx ON authn.device_code (tenant_id, expires_at);

CREATE TABLE authn.credential (
  tenant_id uuid NOT NULL
    CONSTRAINT credential_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  id uuid NOT NULL,
  kind text NOT NULL CONSTRAINT credential_kind_known
    CHECK (kind IN ('TOKEN', 'KEY')),
  subject text NOT NULL CONSTRAINT credential_subject_form
    CHECK (length(subject) <= 256 AND subject ~ '^(user|agent):[A-Za-z0-9._@+-]+$'),
  -- The person of a personal access token, which goes when the person goes.
  user_id uuid,
  name text NOT NULL CONSTRAINT credential_name_length CHECK (length(name) BETWEEN 1 AND 100),
  prefix text NOT NULL CONSTRAINT credential_prefix_length CHECK (length(prefix) BETWEEN 1 AND 64),
  -- Permissions, separated by spaces.
  scope text NOT NULL CONSTRAINT credential_scope_length CHECK (length(scope) BETWEEN 1 AND 8192),
  secret_hash text NOT NULL CONSTRAINT credential_secret_hash_form
    CHECK (secret_hash ~ '^[0-9a-f]{64}$'),
  -- The secret before the last rotation, and until when it is still good.
  previous_hash text CONSTRAINT credential_previous_hash_form
    CHECK (previous_hash ~ '^[0-9a-f]{64}$'),
  previous_expires_at timestamptz,
  lifetime_days bigint NOT NULL CONSTRAINT credential_lifetime_range
    CHECK (lifetime_days BETWEEN 1 AND 366),
  created_by text NOT NULL CONSTRAINT credential_created_by_length
    CHECK (length(created_by) BETWEEN 3 AND 256),
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  last_used_at timestamptz,
  revoked_at timestamptz,
  CONSTRAINT credential_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT credential_secret_hash_key UNIQUE (tenant_id, secret_hash),
  CONSTRAINT credential_previous_hash_key UNIQUE (tenant_id, previous_hash),
  CONSTRAINT credential_user_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES directory.user_account ON DELETE CASCADE,
  CONSTRAINT credential_owner CHECK (
    (kind = 'TOKEN') = (user_id IS NOT NULL) AND (kind = 'TOKEN') = (subject LIKE 'user:%')
  ),
  CONSTRAINT credential_overlap CHECK ((previous_hash IS NULL) = (previous_expires_at IS NULL))
);
CREATE INDEX credential_user_idx ON authn.credential (tenant_id, user_id);
CREATE INDEX credential_subject_idx ON authn.credential (tenant_id, subject, id);

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['device_code', 'credential'] LOOP
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

GRANT SELECT, INSERT, DELETE,
  UPDATE (state, user_id, session_id, acr, auth_time, interval_s, polled_at)
  ON authn.device_code TO argy_authn;
-- A revoked credential stays, to be told of; what it may do is never changed.
GRANT SELECT, INSERT, UPDATE (
  prefix, secret_hash, previous_hash, previous_expires_at, expires_at, last_used_at, revoked_at
) ON authn.credential TO argy_authn;

RESET ROLE;

-- migrate:down
DROP TABLE authn.credential, authn.device_code;
