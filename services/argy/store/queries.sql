-- name: find_tenant
-- The state of the current tenant, and of one of its orgs if asked for.
SELECT t.slug, t.state, o.slug AS org_slug
FROM directory.tenant AS t
LEFT JOIN directory.org AS o ON o.tenant_id = t.tenant_id AND o.org_id = $2
WHERE t.tenant_id = $1;
