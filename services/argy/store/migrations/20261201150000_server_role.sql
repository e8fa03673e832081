-- The role of what every server process does for itself: it finds tenants, and writes the records
-- of its asynchronous lane, whatever services it has.

-- migrate:up
DO $$
BEGIN
  BEGIN
    CREATE ROLE argy_server NOLOGIN;
  EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of this cluster made it
  END;
  IF NOT pg_has_role('argy_server', 'argy_audit_writer', 'MEMBER') THEN
    GRANT argy_audit_writer TO argy_server;
  END IF;
  IF NOT pg_has_role('argy_server', 'argy_tenant_reader', 'MEMBER') THEN
    GRANT argy_tenant_reader TO argy_server;
  END IF;
END
$$;

-- migrate:down
-- Roles belong to the cluster: other databases may still use it.
SELECT 1;
