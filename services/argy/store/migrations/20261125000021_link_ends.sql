-- Links that were sent to a person end in the transaction that disables them or moves their mailbox.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

-- An invitation is good for days: it must not come back with a person who is enabled again, nor let
-- in whoever reads the mailbox that was theirs. The lock is the one that using a link takes (queue_up
-- in passkey_queries.sql), and comes before that of user_account_end_disabled, as it does there: so
-- it is named to run first. What ended already is left to be purged.
CREATE FUNCTION authn.close_links() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  entered text := current_setting('app.tenant_id', true);
BEGIN
  PERFORM set_config('app.tenant_id', OLD.tenant_id::text, true);
  PERFORM pg_advisory_xact_lock(
    hashtextextended(OLD.tenant_id::text || OLD.user_id::text, 0)
  );
  UPDATE authn.magic_link SET used_at = clock_timestamp()
  WHERE tenant_id = OLD.tenant_id AND user_id = OLD.user_id
    AND used_at IS NULL AND expires_at > clock_timestamp();
  PERFORM set_config('app.tenant_id', coalesce(entered, ''), true);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION authn.close_links() FROM PUBLIC;
CREATE TRIGGER user_account_close_links AFTER UPDATE OF state, email ON directory.user_account
  FOR EACH ROW WHEN (NEW.state <> 'ACTIVE' OR NEW.email <> OLD.email)
  EXECUTE FUNCTION authn.close_links();

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
DROP TRIGGER user_account_close_links ON directory.user_account;
DROP FUNCTION authn.close_links();
