-- Who has which role, and the revision that a consistency token names.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
CREATE SCHEMA authz;
ALTER SCHEMA authz OWNER TO argy_owner;
SET LOCAL ROLE argy_owner;

GRANT USAGE ON SCHEMA authz TO argy_authz, argy_directory;

CREATE TABLE authz.role_assignment (
  tenant_id uuid NOT NULL
    CONSTRAINT role_assignment_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  id uuid NOT NULL,
  subject text NOT NULL CONSTRAINT role_assignment_subject_form
    CHECK (length(subject) <= 256 AND subject ~ '^(user|service|agent|group):[A-Za-z0-9._@+-]+$'),
  role text NOT NULL CONSTRAINT role_assignment_role_form
    CHECK (length(role) <= 128 AND role ~ '^role:[A-Z][A-Z0-9_]*$'),
  org_id uuid,
  expires_at timestamptz,
  reason text NOT NULL DEFAULT '' CONSTRAINT role_assignment_reason_length
    CHECK (length(reason) <= 500),
  created_by text NOT NULL CONSTRAINT role_assignment_created_by_length
    CHECK (length(created_by) BETWEEN 1 AND 256),
  created_at timestamptz NOT NULL DEFAULT now(),
  request_id uuid,
  CONSTRAINT role_assignment_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT role_assignment_org_fkey FOREIGN KEY (tenant_id, org_id)
    REFERENCES directory.org ON DELETE CASCADE,
  CONSTRAINT role_assignment_grant_key
    UNIQUE NULLS NOT DISTINCT (tenant_id, subject, role, org_id),
  CONSTRAINT role_assignment_request_id_key UNIQUE (tenant_id, request_id)
);
CREATE INDEX role_assignment_org_idx ON authz.role_assignment (tenant_id, org_id);
CREATE INDEX role_assignment_role_idx ON authz.role_assignment (tenant_id, role);

-- Counts the changes to a tenant's assignments and memberships; never goes back.
CREATE TABLE authz.tenant_revision (
  tenant_id uuid NOT NULL CONSTRAINT tenant_revision_pkey PRIMARY KEY
    CONSTRAINT tenant_revision_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  revision bigint NOT NULL CONSTRAINT tenant_revision_positive CHECK (revision > 0)
);

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['role_assignment', 'tenant_revision'] LOOP
    EXECUTE format('ALTER TABLE authz.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE authz.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format($policy$
      CREATE POLICY tenant_rows ON authz.%I
      USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
      WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
    $policy$, name);
  END LOOP;
END
$$;

-- Raise the tenant's revision and tell the replicas at commit: '<tenant>:<revision>'. Row-level
-- security holds for the owner too, so only the current tenant's revision can be raised.
CREATE FUNCTION authz.bump_revision(tenant uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  raised bigint;
BEGIN
  INSERT INTO authz.tenant_revision AS r (tenant_id, revision) VALUES (tenant, 1)
  ON CONFLICT (tenant_id) DO UPDATE SET revision = r.revision + 1
  RETURNING r.revision INTO raised;
  PERFORM pg_catalog.pg_notify('authz_revision', tenant::text || ':' || raised::text);
  RETURN raised;
END
$$;

-- Take away every role that a subject holds; returns the revision without them.
CREATE FUNCTION authz.forget_subject(tenant uuid, forgotten text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
  DELETE FROM authz.role_assignment AS a WHERE a.tenant_id = tenant AND a.subject = forgotten;
  RETURN authz.bump_revision(tenant);
END
$$;

-- Take away every role granted in an org; returns the revision without them.
CREATE FUNCTION authz.forget_org(tenant uuid, forgotten uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
  DELETE FROM authz.role_assignment AS a WHERE a.tenant_id = tenant AND a.org_id = forgotten;
  RETURN authz.bump_revision(tenant);
END
$$;

REVOKE ALL ON FUNCTION authz.bump_revision(uuid), authz.forget_subject(uuid, text),
  authz.forget_org(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION authz.bump_revision(uuid) TO argy_authz, argy_directory;
GRANT EXECUTE ON FUNCTION authz.forget_subject(uuid, text), authz.forget_org(uuid, uuid)
  TO argy_directory;

-- An expired assignment is replaced in place by a new grant of the same role; who holds which role
-- can't be edited.
GRANT SELECT, INSERT, DELETE,
  UPDATE (id, expires_at, reason, created_by, created_at, request_id)
  ON authz.role_assignment TO argy_authz;
GRANT SELECT ON authz.tenant_revision TO argy_authz;

RESET ROLE;

-- migrate:down
DROP SCHEMA authz CASCADE;
