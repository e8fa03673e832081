-- name: insert_tenant
-- Make a tenant, from inside it.
INSERT INTO directory.tenant (tenant_id, slug, display_name, request_id)
VALUES ($1, $2, $3, $4)
RETURNING tenant_id, slug, display_name, state, created_at;

-- name: find_tenant
-- One tenant, from inside it or from the platform tenant.
SELECT tenant_id, slug, display_name, state, created_at
FROM directory.tenant WHERE tenant_id = $1;

-- name: find_tenant_by_request
-- The tenant that an earlier call with this idempotency key made.
SELECT tenant_id, slug, display_name, state, created_at
FROM directory.tenant WHERE request_id = $1;

-- name: set_tenant_state
-- Suspend or resume, from inside the tenant; replicas hear of it at commit.
UPDATE directory.tenant SET state = $2 WHERE tenant_id = $1
RETURNING tenant_id, slug, display_name, state, created_at;

-- name: delete_tenant
-- Delete a suspended tenant and, by cascade, everything in it; its slug is retired.
DELETE FROM directory.tenant WHERE tenant_id = $1 AND state = 'SUSPENDED';

-- name: list_tenants
-- A page of tenants after $1, oldest first, from the platform tenant; an empty slug means all.
SELECT tenant_id, slug, display_name, state, created_at
FROM directory.tenant
WHERE ($1::uuid IS NULL OR tenant_id > $1) AND ($2 = '' OR slug = $2)
ORDER BY tenant_id
LIMIT $3;

-- name: insert_org
-- Make an org.
INSERT INTO directory.org (tenant_id, org_id, slug, display_name, request_id)
VALUES ($1, $2, $3, $4, $5)
RETURNING org_id, slug, display_name, created_at;

-- name: find_org
-- One org.
SELECT org_id, slug, display_name, created_at
FROM directory.org WHERE tenant_id = $1 AND org_id = $2;

-- name: find_org_by_request
-- The org that an earlier call with this idempotency key made.
SELECT org_id, slug, display_name, created_at
FROM directory.org WHERE tenant_id = $1 AND request_id = $2;

-- name: delete_org
-- Delete an org; its slug is retired.
DELETE FROM directory.org WHERE tenant_id = $1 AND org_id = $2
RETURNING slug;

-- name: list_orgs
-- A page of orgs after $2, oldest first; an empty slug and a null org ($4) mean all.
SELECT org_id, slug, display_name, created_at
FROM directory.org
WHERE tenant_id = $1
  AND ($2::uuid IS NULL OR org_id > $2)
  AND ($3 = '' OR slug = $3)
  AND ($4::uuid IS NULL OR org_id = $4)
ORDER BY org_id
LIMIT $5;

-- name: insert_user
-- Make an active user.
INSERT INTO directory.user_account (tenant_id, user_id, email, display_name, external_id, request_id)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING user_id, email, display_name, state, external_id, created_at;

-- name: find_user
-- One user.
SELECT user_id, email, display_name, state, external_id, created_at
FROM directory.user_account WHERE tenant_id = $1 AND user_id = $2;

-- name: find_user_by_request
-- The user that an earlier call with this idempotency key made.
SELECT user_id, email, display_name, state, external_id, created_at
FROM directory.user_account WHERE tenant_id = $1 AND request_id = $2;

-- name: set_user_state
-- Say whether a user may act.
UPDATE directory.user_account SET state = $3 WHERE tenant_id = $1 AND user_id = $2
RETURNING user_id, email, display_name, state, external_id, created_at;

-- name: delete_user
-- Delete a user and, by cascade, the user's memberships.
DELETE FROM directory.user_account WHERE tenant_id = $1 AND user_id = $2
RETURNING email;

-- name: list_users
-- A page of users after $2, oldest first; an empty e-mail address or external id means all.
SELECT user_id, email, display_name, state, external_id, created_at
FROM directory.user_account
WHERE tenant_id = $1
  AND ($2::uuid IS NULL OR user_id > $2)
  AND ($3 = '' OR email_key = lower($3))
  AND ($4 = '' OR external_id = $4)
ORDER BY user_id
LIMIT $5;

-- name: list_users_by_id
-- Those of the users $2 that there are, after $3, with the e-mail address $4 and the external id $5.
SELECT user_id, email, display_name, state, external_id, created_at
FROM directory.user_account
WHERE tenant_id = $1
  AND user_id = ANY($2::uuid[])
  AND ($3::uuid IS NULL OR user_id > $3)
  AND ($4 = '' OR email_key = lower($4))
  AND ($5 = '' OR external_id = $5)
ORDER BY user_id
LIMIT $6;

-- name: insert_group
-- Make an empty group.
INSERT INTO directory.user_group (tenant_id, group_id, slug, display_name, request_id)
VALUES ($1, $2, $3, $4, $5)
RETURNING group_id, slug, display_name, created_at;

-- name: find_group
-- One group.
SELECT group_id, slug, display_name, created_at
FROM directory.user_group WHERE tenant_id = $1 AND group_id = $2;

-- name: find_group_by_request
-- The group that an earlier call with this idempotency key made.
SELECT group_id, slug, display_name, created_at
FROM directory.user_group WHERE tenant_id = $1 AND request_id = $2;

-- name: delete_group
-- Delete a group and, by cascade, its memberships.
DELETE FROM directory.user_group WHERE tenant_id = $1 AND group_id = $2
RETURNING slug;

-- name: list_groups
-- A page of groups after $2, oldest first; an empty slug means all.
SELECT group_id, slug, display_name, created_at
FROM directory.user_group
WHERE tenant_id = $1
  AND ($2::uuid IS NULL OR group_id > $2)
  AND ($3 = '' OR slug = $3)
ORDER BY group_id
LIMIT $4;

-- name: list_groups_by_id
-- Those of the groups $2 that there are, after $3 and with the slug $4, as list_groups.
SELECT group_id, slug, display_name, created_at
FROM directory.user_group
WHERE tenant_id = $1
  AND group_id = ANY($2::uuid[])
  AND ($3::uuid IS NULL OR group_id > $3)
  AND ($4 = '' OR slug = $4)
ORDER BY group_id
LIMIT $5;

-- name: insert_member
-- Put a user into a group, let in by $4; no row when the user is in it already.
INSERT INTO directory.group_member (tenant_id, group_id, user_id, created_by)
VALUES ($1, $2, $3, $4)
ON CONFLICT ON CONSTRAINT group_member_pkey DO NOTHING
RETURNING user_id;

-- name: delete_member
-- Take a user out of a group; no row when the user is not in it.
DELETE FROM directory.group_member WHERE tenant_id = $1 AND group_id = $2 AND user_id = $3
RETURNING user_id;

-- name: list_members
-- A page of a group's users after $3, oldest user first.
SELECT u.user_id, u.email, u.display_name, u.state, u.external_id, u.created_at
FROM directory.group_member AS m
JOIN directory.user_account AS u ON u.tenant_id = m.tenant_id AND u.user_id = m.user_id
WHERE m.tenant_id = $1 AND m.group_id = $2 AND ($3::uuid IS NULL OR m.user_id > $3)
ORDER BY m.user_id
LIMIT $4;

-- name: bump_revision
-- Raise the tenant's revision, and tell the replicas at commit.
SELECT authz.bump_revision($1);

-- name: forget_subject
-- Take away every role that a subject holds; returns the revision without them.
SELECT authz.forget_subject($1, $2);

-- name: forget_org
-- Take away every role granted in an org; returns the revision without them.
SELECT authz.forget_org($1, $2);
