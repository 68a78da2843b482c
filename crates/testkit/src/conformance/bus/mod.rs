//! What it means to be a bus.

mod events;
mod scene;
mod signals;
mod wakes;

pub use scene::BusFixture;

suite! {
    $ bus, bus_conformance, crate::conformance::bus::BusFixture;

    wakes {
        a_wake_up_is_heard
        a_pull_that_waits_is_woken
        a_pull_gives_up_after_its_wait
        a_pull_takes_no_more_than_it_asked_for
        each_wake_up_goes_to_one_of_many_pulls
        a_pull_that_was_dropped_takes_nothing_with_it
        of_two_waiting_pulls_the_one_that_stays_is_served
        a_wake_up_that_was_not_answered_comes_again
        a_wake_up_that_was_given_back_comes_when_it_was_asked_to
        a_pull_that_waits_gets_what_another_gave_back
    }
    signals {
        a_signal_brings_back_the_worker_s_answer
        a_signal_to_nobody_fails_fast
        a_signal_to_a_worker_that_left_finds_nobody
        a_worker_that_does_not_answer_is_not_waited_for
        a_signal_that_is_thrown_away_is_not_taken_for_answered
        signals_go_to_their_worker_in_order
        changes_reach_all_who_follow_the_thread
        a_reader_of_changes_that_left_harms_nobody
    }
    events {
        readers_get_every_event_in_order
        an_event_comes_as_it_was_appended
        a_reader_that_joins_later_reads_on_without_gap_or_double
        a_reader_resumes_after_any_event
        now_begins_with_the_next_event
        a_resumable_run_is_read_after_its_end
        an_end_may_come_without_events_and_twice
        a_late_reader_of_a_live_run_gets_what_is_still_to_come
        runs_are_apart
        a_stream_goes_on_over_attempts
        what_a_superseded_attempt_still_says_is_left_out
        what_is_said_again_is_told_once
        a_reader_that_does_not_read_harms_nobody
        what_a_log_no_longer_has_is_a_gap
        many_readers_of_many_runs_each_get_their_own
        a_reader_that_left_harms_nobody
    }
}
