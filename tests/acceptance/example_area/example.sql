-- The schema of the example: what its migration would say.
CREATE ROLE argy_example NOLOGIN;
GRANT argy_audit_writer, argy_tenant_reader TO argy_example;
CREATE SCHEMA example;
GRANT USAGE ON SCHEMA example TO argy_example;
CREATE TABLE example.note (tenant_id uuid NOT NULL, text text NOT NULL);
ALTER TABLE example.note ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON example.note
USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
GRANT SELECT, INSERT ON example.note TO argy_example;
