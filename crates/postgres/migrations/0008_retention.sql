-- How long threads are kept after their row last changed, and what becomes of them then. Apart from the
-- threads, so that those that are kept for good cost nothing, and that nothing is written here by what
-- happens with every run: a thread is looked at when its time would be up if nothing had happened on
-- it, and again later if something has.
create table thread_ttls (
    thread_id uuid             not null primary key,
    minutes   double precision not null check (minutes > 0),
    strategy  text             collate "C" not null check (strategy in ('delete', 'keep_latest')),
    -- When it is to be looked at; null while there is nothing to do before something happens on it.
    due_at    timestamptz
);

create index thread_ttls_due on thread_ttls (due_at) where due_at is not null;

-- A thread that has lost its history has been at rest since the beginning of time, by which it is told
-- apart without a look into the other table: most threads that change were never trimmed.
create function note_life_after_trimming() returns trigger language plpgsql as $$
begin
    update thread_ttls set due_at = new.updated_at + minutes * interval '1 minute'
    where thread_id = new.id and due_at is null;
    return null;
end
$$;

create trigger threads_live_after_trimming after update on threads
for each row when (old.at_rest_since = 'epoch' and new.updated_at <> old.updated_at)
execute function note_life_after_trimming();

-- See 0007.
create or replace function delete_with_thread() returns trigger language plpgsql as $$
begin
    delete from thread_values where thread_id = old.id;
    delete from thread_metadata where thread_id = old.id;
    delete from thread_ttls where thread_id = old.id;
    delete from runs where thread_id = old.id;
    delete from settlements where thread_id = old.id;
    delete from checkpoints where thread_id = old.id;
    delete from channel_blobs where thread_id = old.id;
    delete from pending_writes where thread_id = old.id;
    return null;
end
$$;
