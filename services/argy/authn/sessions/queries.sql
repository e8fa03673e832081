-- name: find_account
-- One person, and whether they may sign in.
SELECT user_id, email, display_name, state
FROM directory.user_account WHERE tenant_id = $1 AND user_id = $2;

-- name: find_account_by_email
-- The person whose address this is, without regard to case.
SELECT user_id, email, display_name, state
FROM directory.user_account WHERE tenant_id = $1 AND email_key = lower($2);
