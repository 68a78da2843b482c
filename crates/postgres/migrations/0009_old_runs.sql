-- Runs that are over, by when that was. Whoever has very many makes this index beforehand,
-- concurrently, so that nobody waits for it here. A migration of its own: what holds
-- both `threads` and `runs` meets everybody who takes them in the other order.
create index if not exists runs_over on runs (updated_at) where status not in ('pending', 'running');
