-- What happened to people's ways in, to be seen on their other devices.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

CREATE TABLE authn.security_notice (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  kind text NOT NULL CONSTRAINT security_notice_kind_known CHECK (
    kind IN (
      'recovery_used', 'passkey_registered', 'passkey_removed', 'passkey_blocked', 'token_made',
      'device_let_in', 'sign_in_reset', 'signed_out_everywhere'
    )
  ),
  -- What the passkey, the token or the device is called.
  name text NOT NULL CONSTRAINT security_notice_name_length CHECK (length(name) <= 100),
  ip text NOT NULL CONSTRAINT security_notice_ip_length CHECK (length(ip) <= 64),
  user_agent text NOT NULL
    CONSTRAINT security_notice_user_agent_length CHECK (length(user_agent) <= 512),
  -- The session that it came from, and the one that it made: neither counts as having seen it.
  session_id text NOT NULL CONSTRAINT security_notice_session_length
    CHECK (length(session_id) <= 64),
  made_session_id text NOT NULL DEFAULT ''
    CONSTRAINT security_notice_made_session_length CHECK (length(made_session_id) <= 64),
  created_at timestamptz NOT NULL,
  seen_at timestamptz,
  CONSTRAINT security_notice_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT security_notice_user_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES directory.user_account (tenant_id, user_id) ON DELETE CASCADE
);
CREATE INDEX security_notice_user_idx ON authn.security_notice (tenant_id, user_id, kind, id);
ALTER TABLE authn.security_notice ENABLE ROW LEVEL SECURITY;
ALTER TABLE authn.security_notice FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON authn.security_notice
USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
-- What happened is told as it was: only whether it was seen changes.
GRANT SELECT, INSERT, DELETE, UPDATE (made_session_id, seen_at)
ON authn.security_notice TO argy_authn;

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
DROP TABLE authn.security_notice;
