-- Tenants, organizations, users and groups.
--
-- Every policy is the initplan form, evaluated once a statement; `nullif` because the setting reads
-- '' (not NULL) after a transaction that had set it. Without a tenant no row is visible.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
CREATE SCHEMA directory;
ALTER SCHEMA directory OWNER TO argy_owner;
SET LOCAL ROLE argy_owner;

GRANT USAGE ON SCHEMA directory TO argy_directory, argy_authz, argy_audit, argy_tenant_reader;

CREATE TABLE directory.tenant (
  tenant_id uuid NOT NULL CONSTRAINT tenant_pkey PRIMARY KEY,
  slug text NOT NULL CONSTRAINT tenant_slug_form CHECK (slug ~ '^[a-z][a-z0-9-]{0,62}$'),
  display_name text NOT NULL CONSTRAINT tenant_display_name_length
    CHECK (length(display_name) BETWEEN 1 AND 200),
  state text NOT NULL DEFAULT 'ACTIVE' CONSTRAINT tenant_state_known
    CHECK (state IN ('ACTIVE', 'SUSPENDED')),
  created_at timestamptz NOT NULL DEFAULT now(),
  request_id uuid,
  CONSTRAINT tenant_slug_key UNIQUE (slug),
  CONSTRAINT tenant_request_id_key UNIQUE (request_id),
  CONSTRAINT tenant_platform_active
    CHECK (state = 'ACTIVE' OR tenant_id <> '00000000-0000-7000-8000-000000000001')
);

-- Slugs are in policy paths and in audit, so a deleted one is never given to somebody else.
-- A tenant's slug is retired under the platform tenant, an org's under its own.
CREATE TABLE directory.retired_slug (
  tenant_id uuid NOT NULL
    CONSTRAINT retired_slug_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  kind text NOT NULL CONSTRAINT retired_slug_kind_known CHECK (kind IN ('tenant', 'org')),
  slug text NOT NULL CONSTRAINT retired_slug_length CHECK (length(slug) BETWEEN 1 AND 63),
  retired_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT retired_slug_pkey PRIMARY KEY (tenant_id, kind, slug)
);

CREATE TABLE directory.org (
  tenant_id uuid NOT NULL
    CONSTRAINT org_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  org_id uuid NOT NULL,
  slug text NOT NULL CONSTRAINT org_slug_form CHECK (slug ~ '^[a-z][a-z0-9-]{0,62}$'),
  display_name text NOT NULL CONSTRAINT org_display_name_length
    CHECK (length(display_name) BETWEEN 1 AND 200),
  created_at timestamptz NOT NULL DEFAULT now(),
  request_id uuid,
  CONSTRAINT org_pkey PRIMARY KEY (tenant_id, org_id),
  CONSTRAINT org_slug_key UNIQUE (tenant_id, slug),
  CONSTRAINT org_request_id_key UNIQUE (tenant_id, request_id)
);

CREATE TABLE directory.user_account (
  tenant_id uuid NOT NULL
    CONSTRAINT user_account_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  user_id uuid NOT NULL,
  email text NOT NULL CONSTRAINT user_account_email_length CHECK (length(email) BETWEEN 3 AND 254),
  -- What makes an address unique: without regard to case.
  email_key text NOT NULL GENERATED ALWAYS AS (lower(email)) STORED,
  display_name text NOT NULL CONSTRAINT user_account_display_name_length
    CHECK (length(display_name) BETWEEN 1 AND 200),
  state text NOT NULL DEFAULT 'ACTIVE' CONSTRAINT user_account_state_known
    CHECK (state IN ('ACTIVE', 'DISABLED')),
  created_at timestamptz NOT NULL DEFAULT now(),
  request_id uuid,
  CONSTRAINT user_account_pkey PRIMARY KEY (tenant_id, user_id),
  CONSTRAINT user_account_email_key UNIQUE (tenant_id, email_key),
  CONSTRAINT user_account_request_id_key UNIQUE (tenant_id, request_id)
);

CREATE TABLE directory.user_group (
  tenant_id uuid NOT NULL
    CONSTRAINT user_group_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  group_id uuid NOT NULL,
  slug text NOT NULL CONSTRAINT user_group_slug_form CHECK (slug ~ '^[a-z][a-z0-9-]{0,62}$'),
  display_name text NOT NULL CONSTRAINT user_group_display_name_length
    CHECK (length(display_name) BETWEEN 1 AND 200),
  created_at timestamptz NOT NULL DEFAULT now(),
  request_id uuid,
  CONSTRAINT user_group_pkey PRIMARY KEY (tenant_id, group_id),
  CONSTRAINT user_group_slug_key UNIQUE (tenant_id, slug),
  CONSTRAINT user_group_request_id_key UNIQUE (tenant_id, request_id)
);

CREATE TABLE directory.group_member (
  tenant_id uuid NOT NULL
    CONSTRAINT group_member_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  group_id uuid NOT NULL,
  user_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT group_member_pkey PRIMARY KEY (tenant_id, group_id, user_id),
  CONSTRAINT group_member_group_fkey FOREIGN KEY (tenant_id, group_id)
    REFERENCES directory.user_group ON DELETE CASCADE,
  CONSTRAINT group_member_user_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES directory.user_account ON DELETE CASCADE
);
CREATE INDEX group_member_user_idx ON directory.group_member (tenant_id, user_id);

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY[
    'tenant', 'retired_slug', 'org', 'user_account', 'user_group', 'group_member'
  ] LOOP
    EXECUTE format('ALTER TABLE directory.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE directory.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format($policy$
      CREATE POLICY tenant_rows ON directory.%I
      USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
      WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
    $policy$, name);
  END LOOP;
END
$$;

-- The tenant life cycle lists and finds tenants from inside the platform tenant; it may read them
-- there, and must enter a tenant to change it.
CREATE POLICY platform_reads_tenants ON directory.tenant FOR SELECT TO argy_directory
USING (
  (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid)
  = '00000000-0000-7000-8000-000000000001'::uuid
);

-- A deleted slug stays taken.
CREATE FUNCTION directory.refuse_retired_tenant_slug() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  entered text := current_setting('app.tenant_id', true);
BEGIN
  PERFORM set_config('app.tenant_id', '00000000-0000-7000-8000-000000000001', true);
  IF EXISTS (
    SELECT FROM directory.retired_slug AS r
    WHERE r.tenant_id = '00000000-0000-7000-8000-000000000001'
      AND r.kind = 'tenant' AND r.slug = NEW.slug
  ) THEN
    RAISE EXCEPTION 'tenant slug was used before' USING
      ERRCODE = 'unique_violation', CONSTRAINT = 'tenant_slug_retired';
  END IF;
  PERFORM set_config('app.tenant_id', coalesce(entered, ''), true);
  RETURN NEW;
END
$$;
CREATE FUNCTION directory.retire_tenant_slug() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  entered text := current_setting('app.tenant_id', true);
BEGIN
  IF OLD.tenant_id = '00000000-0000-7000-8000-000000000001' THEN
    RAISE EXCEPTION 'the platform tenant stays' USING
      ERRCODE = 'check_violation', CONSTRAINT = 'tenant_platform_active';
  END IF;
  PERFORM set_config('app.tenant_id', '00000000-0000-7000-8000-000000000001', true);
  INSERT INTO directory.retired_slug (tenant_id, kind, slug)
  VALUES ('00000000-0000-7000-8000-000000000001', 'tenant', OLD.slug)
  ON CONFLICT DO NOTHING;
  PERFORM set_config('app.tenant_id', coalesce(entered, ''), true);
  RETURN NULL;
END
$$;
CREATE FUNCTION directory.refuse_retired_org_slug() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
  IF EXISTS (
    SELECT FROM directory.retired_slug AS r
    WHERE r.tenant_id = NEW.tenant_id AND r.kind = 'org' AND r.slug = NEW.slug
  ) THEN
    RAISE EXCEPTION 'org slug was used before' USING
      ERRCODE = 'unique_violation', CONSTRAINT = 'org_slug_retired';
  END IF;
  RETURN NEW;
END
$$;
-- Nothing to retire when the whole tenant goes.
CREATE FUNCTION directory.retire_org_slug() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
  INSERT INTO directory.retired_slug (tenant_id, kind, slug)
  SELECT t.tenant_id, 'org', OLD.slug FROM directory.tenant AS t
  WHERE t.tenant_id = OLD.tenant_id
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END
$$;
-- Replicas cache tenants and orgs; each change names the tenant to forget.
CREATE FUNCTION directory.announce_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
  PERFORM pg_catalog.pg_notify('directory_changed', coalesce(NEW.tenant_id, OLD.tenant_id)::text);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION directory.refuse_retired_tenant_slug(), directory.retire_tenant_slug(),
  directory.refuse_retired_org_slug(), directory.retire_org_slug(), directory.announce_change()
  FROM PUBLIC;

CREATE TRIGGER tenant_refuse_retired BEFORE INSERT ON directory.tenant
  FOR EACH ROW EXECUTE FUNCTION directory.refuse_retired_tenant_slug();
CREATE TRIGGER tenant_retire AFTER DELETE ON directory.tenant
  FOR EACH ROW EXECUTE FUNCTION directory.retire_tenant_slug();
CREATE TRIGGER tenant_announce AFTER INSERT OR UPDATE OR DELETE ON directory.tenant
  FOR EACH ROW EXECUTE FUNCTION directory.announce_change();
CREATE TRIGGER org_refuse_retired BEFORE INSERT ON directory.org
  FOR EACH ROW EXECUTE FUNCTION directory.refuse_retired_org_slug();
CREATE TRIGGER org_retire AFTER DELETE ON directory.org
  FOR EACH ROW EXECUTE FUNCTION directory.retire_org_slug();
CREATE TRIGGER org_announce AFTER INSERT OR UPDATE OR DELETE ON directory.org
  FOR EACH ROW EXECUTE FUNCTION directory.announce_change();

SELECT set_config('app.tenant_id', '00000000-0000-7000-8000-000000000001', true);
INSERT INTO directory.tenant (tenant_id, slug, display_name)
VALUES ('00000000-0000-7000-8000-000000000001', 'platform', 'Platform');

-- Slugs and ids are immutable: only the columns that may change can be updated.
GRANT SELECT, INSERT, DELETE, UPDATE (display_name, state) ON directory.tenant TO argy_directory;
GRANT SELECT, INSERT, DELETE, UPDATE (display_name) ON directory.org TO argy_directory;
GRANT SELECT, INSERT, DELETE, UPDATE (email, display_name, state)
  ON directory.user_account TO argy_directory;
GRANT SELECT, INSERT, DELETE, UPDATE (display_name) ON directory.user_group TO argy_directory;
GRANT SELECT, INSERT, DELETE ON directory.group_member TO argy_directory;
GRANT SELECT ON directory.tenant, directory.org TO argy_tenant_reader;
GRANT SELECT ON directory.group_member TO argy_authz;
GRANT SELECT (tenant_id, user_id, state) ON directory.user_account TO argy_authz;
GRANT SELECT (tenant_id, group_id) ON directory.user_group TO argy_authz;

RESET ROLE;

-- migrate:down
DROP SCHEMA directory CASCADE;
