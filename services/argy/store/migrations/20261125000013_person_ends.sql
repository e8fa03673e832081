-- What a person could come back with ends in the transaction that disables them, whoever listens.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

-- The platform's own rows: people who were disabled or deleted, of any tenant, until their sessions
-- and access tokens, which are in Redis, are ended too. The announcement may be missed, this not.
CREATE TABLE authn.person_end (
  tenant_id uuid NOT NULL
    CONSTRAINT person_end_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  -- Whose tenant and who, either of which may be gone by now.
  person_tenant_id uuid NOT NULL,
  person_id uuid NOT NULL,
  ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT person_end_pkey PRIMARY KEY (tenant_id, person_tenant_id, person_id)
);
CREATE INDEX person_end_ended_idx ON authn.person_end (tenant_id, ended_at);
ALTER TABLE authn.person_end ENABLE ROW LEVEL SECURITY;
ALTER TABLE authn.person_end FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON authn.person_end
USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
GRANT SELECT, DELETE ON authn.person_end TO argy_authn;

-- Refresh tokens, personal access tokens and approvals of devices: nothing of them comes back when
-- the person is enabled again. The lock is the one that issuing takes (lock_person in
-- token_queries.sql): what is under way is waited for, and what comes later sees the new state.
CREATE FUNCTION authn.end_person() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  entered text := current_setting('app.tenant_id', true);
BEGIN
  IF TG_OP = 'UPDATE' THEN
    PERFORM set_config('app.tenant_id', OLD.tenant_id::text, true);
    -- Before the lock, as who redeems a code does.
    UPDATE authn.device_code SET state = 'DENIED'
    WHERE tenant_id = OLD.tenant_id AND user_id = OLD.user_id AND state = 'APPROVED';
    PERFORM pg_advisory_xact_lock(
      hashtextextended(OLD.tenant_id::text || ' user:' || OLD.user_id::text, 0)
    );
    UPDATE authn.refresh_token SET revoked_at = clock_timestamp()
    WHERE tenant_id = OLD.tenant_id AND user_id = OLD.user_id AND revoked_at IS NULL;
    UPDATE authn.credential SET revoked_at = clock_timestamp()
    WHERE tenant_id = OLD.tenant_id AND user_id = OLD.user_id AND revoked_at IS NULL;
  END IF;
  PERFORM set_config('app.tenant_id', '00000000-0000-7000-8000-000000000001', true);
  INSERT INTO authn.person_end (tenant_id, person_tenant_id, person_id)
  VALUES ('00000000-0000-7000-8000-000000000001', OLD.tenant_id, OLD.user_id)
  ON CONFLICT (tenant_id, person_tenant_id, person_id)
  DO UPDATE SET ended_at = EXCLUDED.ended_at;
  PERFORM set_config('app.tenant_id', coalesce(entered, ''), true);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION authn.end_person() FROM PUBLIC;
CREATE TRIGGER user_account_end_disabled AFTER UPDATE OF state ON directory.user_account
  FOR EACH ROW WHEN (NEW.state <> 'ACTIVE') EXECUTE FUNCTION authn.end_person();
CREATE TRIGGER user_account_end_deleted AFTER DELETE ON directory.user_account
  FOR EACH ROW EXECUTE FUNCTION authn.end_person();

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
DROP TRIGGER user_account_end_deleted ON directory.user_account;
DROP TRIGGER user_account_end_disabled ON directory.user_account;
DROP FUNCTION authn.end_person();
DROP TABLE authn.person_end;
