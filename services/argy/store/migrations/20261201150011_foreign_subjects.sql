-- Subjects that the directory does not list, and whom a name of another system stands for.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

-- A tenant without a row has the defaults.
CREATE TABLE authz.assignment_settings (
  tenant_id uuid NOT NULL CONSTRAINT assignment_settings_pkey PRIMARY KEY
    CONSTRAINT assignment_settings_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  -- Whether subjects that the directory does not list may hold roles.
  foreign_subjects boolean NOT NULL DEFAULT false
);
ALTER TABLE authz.assignment_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE authz.assignment_settings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON authz.assignment_settings
USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
GRANT SELECT, INSERT, UPDATE (foreign_subjects) ON authz.assignment_settings TO argy_authz;

-- Any type but "role" is one of subjects; ids are their owners' text. What is there keeps the new
-- form, which is wider.
-- squawk-ignore ban-drop-constraint
ALTER TABLE authz.role_assignment DROP CONSTRAINT role_assignment_subject_form;
ALTER TABLE authz.role_assignment ADD CONSTRAINT role_assignment_subject_form CHECK (
  octet_length(subject) <= 320 AND subject ~ '^[a-z][a-z0-9_.]*:.+$' AND subject !~ '^role:'
) NOT VALID;

-- Whom names stand for, each as type:name: by id, then by e-mail address, then by external id; a
-- group by id, then by slug. Asked about, not handed out.
CREATE FUNCTION directory.subjects_named(tenant uuid, names text[])
RETURNS TABLE (name text, subject text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
  WITH given AS (
    SELECT n.whole, split_part(n.whole, ':', 1) AS kind,
      substr(n.whole, strpos(n.whole, ':') + 1) AS id
    FROM unnest(names) AS n (whole)
  ), ids AS (
    SELECT g.whole, g.kind, g.id::uuid AS id
    FROM given AS g
    WHERE g.id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
  )
  SELECT DISTINCT ON (found.whole) found.whole, found.subject
  FROM (
    SELECT i.whole, 'user:' || u.user_id AS subject, 1 AS place
    FROM ids AS i JOIN directory.user_account AS u ON u.tenant_id = tenant AND u.user_id = i.id
    WHERE i.kind = 'user'
    UNION ALL
    SELECT g.whole, 'user:' || u.user_id, 2
    FROM given AS g
    JOIN directory.user_account AS u ON u.tenant_id = tenant AND u.email_key = lower(g.id)
    WHERE g.kind = 'user'
    UNION ALL
    SELECT g.whole, 'user:' || u.user_id, 3
    FROM given AS g
    JOIN directory.user_account AS u
      ON u.tenant_id = tenant AND u.external_id = g.id AND u.external_id <> ''
    WHERE g.kind = 'user'
    UNION ALL
    SELECT i.whole, 'group:' || d.group_id, 1
    FROM ids AS i JOIN directory.user_group AS d ON d.tenant_id = tenant AND d.group_id = i.id
    WHERE i.kind = 'group'
    UNION ALL
    SELECT g.whole, 'group:' || d.group_id, 2
    FROM given AS g JOIN directory.user_group AS d ON d.tenant_id = tenant AND d.slug = g.id
    WHERE g.kind = 'group'
  ) AS found
  ORDER BY found.whole, found.place
$$;
REVOKE ALL ON FUNCTION directory.subjects_named(uuid, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION directory.subjects_named(uuid, text[]) TO argy_authz;

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
DROP FUNCTION directory.subjects_named(uuid, text[]);
DELETE FROM authz.role_assignment
WHERE subject !~ '^(user|service|agent|group):[A-Za-z0-9._@+-]+$' OR length(subject) > 256;
-- squawk-ignore ban-drop-constraint
ALTER TABLE authz.role_assignment DROP CONSTRAINT role_assignment_subject_form;
ALTER TABLE authz.role_assignment ADD CONSTRAINT role_assignment_subject_form CHECK (
  length(subject) <= 256 AND subject ~ '^(user|service|agent|group):[A-Za-z0-9._@+-]+$'
) NOT VALID;
DROP TABLE authz.assignment_settings;
