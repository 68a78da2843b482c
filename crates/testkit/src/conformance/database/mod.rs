//! What it means to be a database.

mod admission;
mod assistants;
mod cancels;
mod census;
mod checkpoints;
mod claims;
mod items;
mod leases;
mod pruning;
mod retention;
mod rollback;
mod runs;
mod scene;
mod search;
mod settlements;
mod threads;

pub use scene::{Fixture, a_run};

suite! {
    $ database, database_conformance, crate::conformance::database::Fixture;

    threads {
        a_thread_is_created_idle_and_reads_back
        an_existing_thread_is_only_answered_with_on_request
        a_missing_thread_is_not_found
        a_patch_merges_metadata_key_by_key
        a_thread_is_busy_until_its_last_run_is_over
        a_run_leaves_its_head_on_the_thread
        a_failed_run_marks_its_thread_until_another_one_ends
        values_change_only_when_a_run_is_over
        a_pending_run_that_ends_gives_the_thread_its_status_back
        a_deleted_thread_takes_everything_with_it
        a_thread_is_not_deleted_under_a_running_run
        a_copy_has_the_state_and_not_the_runs
        a_copy_does_not_change_with_its_source
        a_copy_does_not_replace_a_thread
        a_temporary_thread_goes_some_time_after_its_run
        a_temporary_thread_goes_even_if_its_run_was_rolled_back
        pruning_spares_what_it_should
        a_thread_made_anew_is_closed_to_the_attempts_of_the_old_one
    }
    runs {
        an_accepted_run_is_pending_and_reads_back
        a_document_of_the_user_comes_back_letter_by_letter
        a_run_is_found_only_on_its_own_thread
        a_run_without_a_thread_is_refused_or_brings_its_own
        runs_that_create_the_same_thread_at_once_share_it
        submitting_a_run_again_answers_with_it
        configuration_comes_from_assistant_thread_and_request
        acceptance_is_ordered_though_the_clock_steps_back
        a_delayed_run_is_due_when_its_time_comes
        a_negative_delay_is_none
        a_delayed_run_lets_others_pass
        no_wake_is_asked_for_on_a_held_thread
        runs_are_listed_newest_first
        a_run_that_is_over_can_be_deleted
        a_pending_run_is_not_deleted_but_rolled_back
    }
    admission {
        reject_refuses_beside_a_running_run
        reject_refuses_beside_a_pending_run
        reject_refuses_beside_a_run_that_is_not_due_yet
        of_rejecting_runs_at_once_one_is_accepted
        enqueue_leaves_the_others_alone
        interrupt_signals_the_worker_of_a_running_run
        interrupt_has_the_input_of_a_pending_run_applied
        interrupt_ends_a_pending_run_that_has_nothing_to_lose
        interrupt_does_not_wait_for_a_delayed_run
        interrupt_ends_the_back_off_of_a_retry
        a_second_interrupt_does_not_repeat_the_first
        a_burst_of_interrupts_keeps_every_input_in_order
        rollback_signals_the_worker_and_deletes_when_it_stopped
        rollback_deletes_pending_runs_at_once
        rollback_outranks_an_interrupt_under_way
        an_interrupt_does_not_weaken_a_rollback
        a_delayed_run_supersedes_at_once_and_keeps_the_thread_busy
        a_run_is_accepted_while_its_thread_waits_for_a_human
    }
    cancels {
        a_pending_run_ends_at_once
        a_running_run_is_signalled_and_keeps_its_status
        a_run_between_two_attempts_is_seen_to_by_a_worker
        a_handed_back_run_is_seen_to_by_a_worker
        a_rolled_back_pending_run_is_gone_with_what_it_left
        discarding_a_run_in_back_off_lets_the_next_one_start
        runs_that_are_over_or_elsewhere_are_passed_over
        runs_are_cancelled_by_where_they_stand
        a_cancel_that_comes_too_late_changes_nothing
    }
    claims {
        a_claim_gives_the_run_and_the_right_to_it
        a_thread_runs_one_run_at_a_time
        of_claims_at_once_one_gets_the_run
        runs_are_claimed_in_the_order_of_acceptance
        where_nothing_is_due_nothing_is_claimed
        a_worker_without_a_lease_claims_nothing
        a_repeated_claim_gives_the_same_answer
        a_repeated_claim_brings_a_request_to_stop
        a_retry_waits_for_its_time_and_keeps_its_place
        a_run_fails_when_its_attempts_are_used_up
        an_attempt_that_was_handed_back_does_not_count
        a_waiting_thread_is_found_once_it_waited_long_enough
        a_delayed_run_makes_its_thread_wait_when_it_is_due
        no_more_waiting_threads_are_named_than_asked_for
        claims_of_a_worker_that_was_swept_are_refused
    }
    settlements {
        each_end_has_its_status
        a_settlement_claims_the_next_run
        a_settlement_claims_nothing_that_is_not_due
        a_settlement_without_a_next_claim_wakes_others
        a_worker_whose_lease_ran_out_settles_but_gets_no_more
        a_repeated_settlement_gives_the_same_answer
        a_repeated_settlement_of_a_discarded_run_is_answered
        a_repeated_settlement_adopts_the_next_run_it_had_claimed
        a_settlement_can_be_repeated_after_others_went_on
        an_attempt_that_lost_its_thread_settles_nothing
        a_forged_fence_settles_nothing
        a_run_that_ends_before_it_can_be_stopped_succeeds
        a_run_to_be_rolled_back_is_discarded_however_it_ended
        a_hand_back_keeps_the_place_and_a_request_to_interrupt
        residue_is_stored_with_the_settlement
        claims_and_settlements_of_many_threads_do_not_mix
    }
    leases {
        a_renewal_says_what_the_worker_holds
        a_renewed_lease_lasts
        a_late_renewal_counts_until_the_sweep
        an_idle_worker_is_swept_too
        a_worker_that_was_never_enlisted_renews_nothing
        enlisting_twice_is_harmless
        a_lost_worker_s_run_goes_back_to_the_queue
        a_run_that_loses_every_worker_fails
        a_lost_run_that_was_to_be_interrupted_goes_to_another_worker
        a_lost_run_that_was_to_be_rolled_back_is_gone
        a_sweep_frees_no_more_than_asked
        a_sweep_spares_those_who_live
        a_retired_worker_s_runs_are_freed_by_the_next_sweep
        the_writes_of_a_lost_worker_are_refused
        a_thread_freed_by_a_sweep_goes_to_whoever_asks_next
    }
    checkpoints {
        a_checkpoint_comes_back_byte_for_byte
        the_latest_checkpoint_is_the_greatest
        namespaces_are_apart
        a_value_is_stored_once_and_shared
        an_empty_value_is_a_value
        a_version_keeps_its_first_value
        storing_again_is_harmless
        pending_writes_are_ordered_by_path_task_and_index
        an_ordinary_write_is_made_once_and_a_special_one_replaced
        writes_belong_to_one_checkpoint_of_one_namespace
        writes_may_come_before_their_checkpoint
        checkpoints_are_listed_newest_first
        only_the_attempt_that_holds_the_thread_writes
        a_settled_attempt_writes_nothing_more
        an_update_from_outside_becomes_the_state_of_the_thread
        an_update_is_refused_while_a_run_is_in_flight
        an_update_is_refused_when_the_state_has_changed
        a_fork_is_the_latest_and_leaves_the_old_branch
    }
    pruning {
        checkpoints_of_runs_can_be_deleted
        history_can_be_pruned
        pruning_spares_what_values_are_rebuilt_from
    }
    retention {
        a_time_to_live_is_kept_changed_and_taken_away
        a_thread_without_a_time_to_live_stays
        a_thread_whose_time_is_up_is_gone_with_everything
        whatever_happens_on_a_thread_gives_it_all_its_time_again
        a_thread_with_work_in_flight_is_left_alone
        a_thread_that_is_to_stay_loses_its_history_once
        a_thread_that_lost_its_history_loses_what_came_later
        a_thread_made_for_a_run_has_the_time_that_it_was_given
        no_more_threads_are_looked_at_than_asked
        a_thread_made_anew_has_none_of_the_time_of_the_old_one
        sweeps_at_once_share_what_there_is
        of_a_sweep_and_a_run_at_once_one_is_first
        records_of_runs_go_when_they_are_old_enough
    }
    rollback {
        checkpoints_values_and_writes_of_the_run_are_gone
        special_writes_that_the_run_replaced_are_back
        values_shared_with_older_checkpoints_stay
        all_attempts_of_the_run_are_undone
        a_failed_thread_is_failed_again
        the_first_run_of_a_thread_leaves_it_blank
        other_threads_keep_what_is_theirs
    }
    census {
        runs_are_counted_by_what_they_wait_for
        what_is_over_is_not_counted
        a_run_behind_another_one_waits_for_nobody_to_claim_it
        a_run_that_was_given_back_waits_from_then_on
        tables_have_a_size_and_one_name_each
    }
    assistants {
        an_assistant_is_created_at_version_one
        an_existing_assistant_is_only_answered_with_on_request
        a_patch_makes_a_new_version_of_what_it_names
        versions_are_listed_newest_first
        an_older_version_can_be_made_current
        a_deleted_assistant_takes_its_versions_and_not_its_runs
    }
    items {
        an_item_is_put_read_replaced_and_deleted
        items_of_other_namespaces_and_keys_are_others
        a_search_goes_below_whole_labels_newest_first
        items_of_the_same_moment_are_in_the_order_of_their_names
        a_search_filters_by_conditions_on_the_value
        namespaces_are_listed_in_order_without_doubles
    }
    search {
        threads_are_found_by_what_their_metadata_contain
        threads_are_found_by_values_status_and_id
        threads_are_sorted_and_paged
        assistants_are_found_by_graph_name_and_metadata
        assistants_are_sorted_and_paged
        equal_keys_are_ordered_by_id
    }
}
