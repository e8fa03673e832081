"""The gRPC face of notes."""

from argy.api.example.v1 import note_pb2 as pb

from argy.rpc.call import Call
from argy.store.database import Database
from argy.trail.records import AuditRecord, record


class NoteService:
    """Keeps notes of a tenant."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def AddNote(self, request: pb.AddNoteRequest, call: Call) -> pb.AddNoteResponse:
        """Keep a note, with its record."""
        async with self._db.tenant(call.tenant_id) as tx:
            await tx.execute("INSERT INTO example.note VALUES ($1, $2)", tx.tenant_id, request.text)
            notes = await tx.fetchval("SELECT count(*) FROM example.note")
            role = await tx.fetchval("SELECT current_user::text")
            await record(tx, AuditRecord.of(call, "example.note.add", "example.note:new"), call)
        return pb.AddNoteResponse(notes=notes, role=role)
