-- name: begin_consistent_read
-- Let the statements that follow see one state of the database.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: find_revision
-- The tenant's slug, state and assignment revision (0 before the first change), and its settings.
SELECT t.slug, t.state, coalesce(r.revision, 0) AS revision,
  coalesce(s.foreign_subjects, false) AS foreign_subjects
FROM directory.tenant AS t
LEFT JOIN authz.tenant_revision AS r USING (tenant_id)
LEFT JOIN authz.assignment_settings AS s USING (tenant_id)
WHERE t.tenant_id = $1;

-- name: list_live_assignments
-- Everything that is held and has not ended by $2; ends are rounded down to milliseconds.
SELECT a.subject, a.role, coalesce(o.slug, '') AS org,
  floor(extract(epoch FROM a.expires_at) * 1000)::bigint AS expires_at_ms
FROM authz.role_assignment AS a
LEFT JOIN directory.org AS o USING (tenant_id, org_id)
WHERE a.tenant_id = $1 AND (a.expires_at IS NULL OR a.expires_at > $2)
ORDER BY a.id;

-- name: list_memberships
-- Who is in which group, as subjects.
SELECT 'group:' || group_id AS group_subject, 'user:' || user_id AS member
FROM directory.group_member
WHERE tenant_id = $1;

-- name: list_disabled_users
-- Subjects that may do nothing.
SELECT 'user:' || user_id AS subject
FROM directory.user_account
WHERE tenant_id = $1 AND state <> 'ACTIVE';

-- name: list_orgs
-- The tenant's orgs.
SELECT org_id, slug
FROM directory.org
WHERE tenant_id = $1
ORDER BY org_id;

-- name: find_grant_target
-- What a grant refers to: the org's slug, whether the user exists, whether the group exists.
SELECT
  (SELECT o.slug FROM directory.org AS o WHERE o.tenant_id = $1 AND o.org_id = $2) AS org_slug,
  EXISTS (
    SELECT FROM directory.user_account AS u WHERE u.tenant_id = $1 AND u.user_id = $3
  ) AS user_exists,
  EXISTS (
    SELECT FROM directory.user_group AS g WHERE g.tenant_id = $1 AND g.group_id = $3
  ) AS group_exists;

-- name: find_named
-- Whom of the directory the names $2 stand for, each as type:name.
SELECT name, subject FROM directory.subjects_named($1, $2::text[]);

-- name: find_foreign_subjects
-- Whether subjects that the directory does not list may hold roles; no row for the default.
SELECT foreign_subjects FROM authz.assignment_settings WHERE tenant_id = $1;

-- name: save_foreign_subjects
-- Say whether subjects that the directory does not list may hold roles.
INSERT INTO authz.assignment_settings (tenant_id, foreign_subjects) VALUES ($1, $2)
ON CONFLICT ON CONSTRAINT assignment_settings_pkey DO UPDATE SET
  foreign_subjects = excluded.foreign_subjects;

-- name: find_assignment_by_request
-- The assignment that an earlier call with this idempotency key made.
SELECT id, subject, role, org_id, expires_at, reason, created_by, created_at
FROM authz.role_assignment
WHERE tenant_id = $1 AND request_id = $2;

-- name: insert_assignment
-- Grant a role; an assignment that has ended ($9 is now) is replaced. No row when a live one exists.
INSERT INTO authz.role_assignment AS a
  (tenant_id, id, subject, role, org_id, expires_at, reason, created_by, created_at, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT ON CONSTRAINT role_assignment_grant_key DO UPDATE SET
  id = excluded.id, expires_at = excluded.expires_at, reason = excluded.reason,
  created_by = excluded.created_by, created_at = excluded.created_at,
  request_id = excluded.request_id
WHERE a.expires_at <= excluded.created_at
RETURNING a.id;

-- name: delete_assignment
-- Take a role away; with an org ($3) only where it was granted in that org.
DELETE FROM authz.role_assignment
WHERE tenant_id = $1 AND id = $2 AND ($3::uuid IS NULL OR org_id = $3)
RETURNING subject, role, org_id;

-- name: list_assignments
-- A page of assignments after $5, oldest first; empty filters and a null org mean all.
SELECT id, subject, role, org_id, expires_at, reason, created_by, created_at
FROM authz.role_assignment
WHERE tenant_id = $1
  AND ($2 = '' OR subject = $2)
  AND ($3 = '' OR role = $3)
  AND ($4::uuid IS NULL OR org_id = $4)
  AND ($5::uuid IS NULL OR id > $5)
ORDER BY id
LIMIT $6;

-- name: bump_revision
-- Raise the tenant's revision, and tell the replicas at commit.
SELECT authz.bump_revision($1);
