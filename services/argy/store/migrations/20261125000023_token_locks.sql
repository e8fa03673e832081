-- Who trades a refresh token and who deletes its person, org or tenant take locks in one order.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

-- A deletion locks the row and then, by its cascade, the tokens. A trade locks its token, and the
-- foreign keys of the token that it inserts wait for those rows: it has to take them before. Row
-- security holds here too, so that nobody holds what is another tenant's.
CREATE FUNCTION authn.hold_token_owners(of_tenant uuid, of_user uuid, of_org uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
  PERFORM FROM directory.tenant WHERE tenant_id = of_tenant FOR KEY SHARE;
  PERFORM FROM directory.org WHERE tenant_id = of_tenant AND org_id = of_org FOR KEY SHARE;
  PERFORM FROM directory.user_account
  WHERE tenant_id = of_tenant AND user_id = of_user FOR KEY SHARE;
END
$$;
REVOKE ALL ON FUNCTION authn.hold_token_owners(uuid, uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION authn.hold_token_owners(uuid, uuid, uuid) TO argy_authn;

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
DROP FUNCTION authn.hold_token_owners(uuid, uuid, uuid);
