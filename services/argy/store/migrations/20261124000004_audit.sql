-- The audit log: insert-only by privilege, partitioned by month of the event's UUIDv7.
--
-- No foreign key: events outlive the tenant they tell of. No default partition: an id outside the
-- made months is refused rather than kept where retention would never find it.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
CREATE SCHEMA audit;
ALTER SCHEMA audit OWNER TO argy_owner;
SET LOCAL ROLE argy_owner;

GRANT USAGE ON SCHEMA audit TO argy_audit, argy_audit_writer, argy_audit_keeper;

CREATE TABLE audit.event (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  org_id uuid,
  actor text NOT NULL CONSTRAINT event_actor_length CHECK (length(actor) BETWEEN 3 AND 256),
  actor_kind text NOT NULL GENERATED ALWAYS AS (split_part(actor, ':', 1)) STORED,
  on_behalf_of text NOT NULL DEFAULT '' CONSTRAINT event_on_behalf_of_length
    CHECK (length(on_behalf_of) <= 256),
  action text NOT NULL CONSTRAINT event_action_length CHECK (length(action) BETWEEN 1 AND 128),
  resource text NOT NULL CONSTRAINT event_resource_length
    CHECK (length(resource) BETWEEN 1 AND 512),
  outcome text NOT NULL CONSTRAINT event_outcome_known
    CHECK (outcome IN ('SUCCESS', 'FAILURE', 'DENIED')),
  reason text NOT NULL DEFAULT '' CONSTRAINT event_reason_length CHECK (length(reason) <= 500),
  occurred_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  request_id text NOT NULL DEFAULT '' CONSTRAINT event_request_id_length
    CHECK (length(request_id) <= 128),
  trace_id text NOT NULL DEFAULT '' CONSTRAINT event_trace_id_length
    CHECK (length(trace_id) <= 64),
  parent_id uuid,
  -- LLM requests: which model, how many tokens.
  model text CONSTRAINT event_model_length CHECK (length(model) <= 128),
  tokens_in bigint CONSTRAINT event_tokens_in_positive CHECK (tokens_in >= 0),
  tokens_out bigint CONSTRAINT event_tokens_out_positive CHECK (tokens_out >= 0),
  -- The policy decision behind the action: rule, role path, revisions.
  decision jsonb CONSTRAINT event_decision_size CHECK (pg_column_size(decision) <= 65536),
  detail jsonb CONSTRAINT event_detail_size CHECK (pg_column_size(detail) <= 65536),
  -- Encrypted content (nonce, then ciphertext), and the data key that erasure destroys.
  content bytea CONSTRAINT event_content_size CHECK (octet_length(content) <= 1048576),
  dek_id uuid,
  -- The event's leaf in the tenant's Merkle log: SHA-256.
  leaf bytea CONSTRAINT event_leaf_size CHECK (octet_length(leaf) = 32),
  CONSTRAINT event_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT event_content_keyed CHECK ((content IS NULL) = (dek_id IS NULL))
) PARTITION BY RANGE (id);
CREATE INDEX event_actor_idx ON audit.event (tenant_id, actor, id);
CREATE INDEX event_resource_idx ON audit.event (tenant_id, resource, id);
CREATE INDEX event_request_id_idx ON audit.event (tenant_id, request_id, id)
  WHERE request_id <> '';

ALTER TABLE audit.event ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit.event FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON audit.event
USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));

-- The smallest UUIDv7-ordered value at a moment: 48 bits of Unix milliseconds, then zeros.
CREATE FUNCTION audit.id_at(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT SET search_path = '' AS $$
  SELECT (
    lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20)
  )::uuid
$$;

-- Make the monthly partitions from last month to `months_ahead` months from now; returns how many
-- were missing. Policies are not inherited, so each partition gets its own, and no grants. Made
-- apart and then attached, which does not block writers.
CREATE FUNCTION audit.ensure_partitions(months_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' AS $$
DECLARE
  month timestamptz;
  name text;
  made integer := 0;
BEGIN
  IF months_ahead NOT BETWEEN 0 AND 24 THEN
    RAISE EXCEPTION 'months_ahead must be 0 to 24' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_catalog.pg_advisory_xact_lock(hashtextextended('audit.ensure_partitions', 0));
  FOR step IN -1..months_ahead LOOP
    month := date_trunc('month', now()) + make_interval(months => step);
    name := 'event_' || to_char(month, 'YYYY_MM');
    CONTINUE WHEN to_regclass('audit.' || name) IS NOT NULL;
    EXECUTE format('CREATE TABLE audit.%I (LIKE audit.event INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE audit.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE audit.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format($policy$
      CREATE POLICY tenant_rows ON audit.%I
      USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
      WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
    $policy$, name);
    EXECUTE format(
      'ALTER TABLE audit.event ATTACH PARTITION audit.%I FOR VALUES FROM (%L) TO (%L)',
      name, audit.id_at(month), audit.id_at(month + interval '1 month'));
    made := made + 1;
  END LOOP;
  RETURN made;
END
$$;
REVOKE ALL ON FUNCTION audit.id_at(timestamptz), audit.ensure_partitions(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.ensure_partitions(integer) TO argy_audit_keeper;

SELECT audit.ensure_partitions(2);

-- Nobody is granted UPDATE, DELETE or TRUNCATE.
GRANT INSERT ON audit.event TO argy_audit_writer;
GRANT SELECT ON audit.event TO argy_audit;

RESET ROLE;

-- migrate:down
DROP SCHEMA audit CASCADE;
