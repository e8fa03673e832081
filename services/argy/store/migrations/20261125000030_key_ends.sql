-- The end of a service key is told to every server, whatever fails after the commit that ended it.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

-- The platform's own rows: service keys that were revoked or rotated, of any tenant, until the deny
-- list in Redis says so. Whoever changed the key says it at once; should that fail, this is left.
CREATE TABLE authn.key_end (
  tenant_id uuid NOT NULL
    CONSTRAINT key_end_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  -- Whose key and which, either of which may be gone by now.
  key_tenant_id uuid NOT NULL,
  key_id uuid NOT NULL,
  -- The last generation that ended; 0 for the key as a whole.
  generation bigint NOT NULL
    CONSTRAINT key_end_generation CHECK (generation BETWEEN 0 AND 999999),
  ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT key_end_pkey PRIMARY KEY (tenant_id, key_tenant_id, key_id, generation)
);
CREATE INDEX key_end_ended_idx ON authn.key_end (tenant_id, ended_at);
ALTER TABLE authn.key_end ENABLE ROW LEVEL SECURITY;
ALTER TABLE authn.key_end FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON authn.key_end
USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
GRANT SELECT, DELETE ON authn.key_end TO argy_authn;

CREATE FUNCTION authn.note_key_end() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  entered text := current_setting('app.tenant_id', true);
  ended bigint := 0;
BEGIN
  IF NEW.revoked_at IS NULL THEN
    -- A rotation ends the secret before it, unless that one overlaps; then the one before that.
    ended := OLD.generation - CASE WHEN NEW.previous_hash IS NULL THEN 0 ELSE 1 END;
    IF ended < 1 THEN
      RETURN NULL;
    END IF;
  END IF;
  PERFORM set_config('app.tenant_id', '00000000-0000-7000-8000-000000000001', true);
  INSERT INTO authn.key_end (tenant_id, key_tenant_id, key_id, generation)
  VALUES ('00000000-0000-7000-8000-000000000001', NEW.tenant_id, NEW.id, ended)
  ON CONFLICT (tenant_id, key_tenant_id, key_id, generation)
  DO UPDATE SET ended_at = EXCLUDED.ended_at;
  PERFORM set_config('app.tenant_id', coalesce(entered, ''), true);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION authn.note_key_end() FROM PUBLIC;
CREATE TRIGGER credential_key_end AFTER UPDATE OF revoked_at, generation ON authn.credential
  FOR EACH ROW WHEN (
    NEW.kind = 'SERVICE'
    AND (NEW.revoked_at IS DISTINCT FROM OLD.revoked_at OR NEW.generation <> OLD.generation)
  ) EXECUTE FUNCTION authn.note_key_end();

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
DROP TRIGGER credential_key_end ON authn.credential;
DROP FUNCTION authn.note_key_end();
DROP TABLE authn.key_end;
