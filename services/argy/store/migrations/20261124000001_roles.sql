-- The roles. None can log in: `argy.store.migrate.provision_login` makes a login per service that
-- may only SET ROLE to its own. Roles belong to the cluster, not to the database, so they are made
-- once and never dropped here.

-- migrate:up
DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY[
    'argy_owner', 'argy_audit_writer', 'argy_tenant_reader',
    'argy_directory', 'argy_authz', 'argy_audit', 'argy_audit_keeper'
  ] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL; -- another database of this cluster made it
    END;
  END LOOP;
  IF NOT pg_has_role(current_user, 'argy_owner', 'MEMBER') THEN
    EXECUTE format('GRANT argy_owner TO %I', current_user);
  END IF;
  FOREACH wanted IN ARRAY ARRAY['argy_directory', 'argy_authz', 'argy_audit'] LOOP
    IF NOT pg_has_role(wanted, 'argy_audit_writer', 'MEMBER') THEN
      EXECUTE format('GRANT argy_audit_writer TO %I', wanted);
    END IF;
    IF NOT pg_has_role(wanted, 'argy_tenant_reader', 'MEMBER') THEN
      EXECUTE format('GRANT argy_tenant_reader TO %I', wanted);
    END IF;
  END LOOP;
  -- CONNECT is granted to each provisioned login; nobody makes temporary tables.
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

-- migrate:down
GRANT USAGE ON SCHEMA public TO PUBLIC;
DO $$
BEGIN
  EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
END
$$;
