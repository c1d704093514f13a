//! What each action and each condition does to a program that is written for it, and what the
//! report contains.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use super::{program, run};

/// Runs a program that checks itself, under the shim.
fn holds(name: &'static str, mode: &str, environment: &[(&str, &str)]) -> String {
    let run = run(Command::new(program(name))
        .arg(mode)
        .env("LD_PRELOAD", testkit::shim())
        .env("EPOLLSHIM_REPORT", "none")
        .envs(environment.iter().copied()));
    assert!(run.status.success(), "{name} {mode}: {}\n{}{}", run.status, run.stdout, run.stderr);
    run.stdout
}

macro_rules! hold {
    ($($name:ident: $program:literal $mode:literal;)*) => {$(
        #[test]
        fn $name() {
            holds($program, $mode, &[]);
        }
    )*};
}

hold! {
    an_error_is_returned_and_the_call_not_made: "fault_effects" "errors";
    an_error_without_a_name_is_returned_too: "fault_effects" "errno_4095";
    a_value_is_returned_and_the_call_not_made: "fault_effects" "values";
    a_value_that_is_no_descriptor_is_nobody_s: "fault_effects" "made_up";
    a_small_negative_value_is_an_errno: "fault_effects" "negative";
    a_timeout_returns_at_once_and_takes_no_event: "fault_effects" "timeouts";
    a_small_batch_loses_no_edge_and_tells_none_twice: "fault_effects" "batches";
    a_legal_forgery_adds_bits_and_an_impossible_one_is_refused: "fault_effects" "forged";
    a_delay_lets_at_least_that_time_pass: "fault_effects" "delays";
    ordinals_probabilities_and_counts_choose_the_calls: "fault_effects" "ordinals";
    a_rule_is_silent_until_its_time: "fault_effects" "after";
    arguments_choose_the_calls_and_are_what_ordinals_count: "fault_effects" "arguments";
    rules_are_tried_in_order_and_all_that_match_count: "fault_effects" "order";
    a_call_that_no_rule_fires_on_is_as_ever: "fault_effects" "quiet";
    a_handler_ends_the_delay_of_a_wait: "fault_signals" "delayed_waits";
    a_handler_does_not_shorten_the_delay_of_another_call: "fault_signals" "delayed_calls";
    a_signal_runs_its_handler_once_a_call: "fault_signals" "signals";
    a_thread_that_gets_only_faults_can_be_cancelled: "fault_signals" "cancellation";
    a_forked_child_begins_its_ordinals_anew: "fault_signals" "forks";
    a_vfork_child_gets_faults_and_leaves_its_parent_whole: "fault_signals" "vforks";
    a_handler_on_the_smallest_stack_may_get_faults: "fault_signals" "small_stacks";
    ordinals_are_the_process_s_or_the_thread_s: "fault_threads" "scopes";
    a_rule_fires_exactly_as_often_as_it_may_among_16_threads: "fault_threads" "most";
    a_wrong_text_is_told_and_arms_nothing: "fault_threads" "texts";
    rules_come_behind_those_that_are_armed: "fault_threads" "adding";
    a_reset_begins_counts_and_ordinals_anew: "fault_threads" "resets";
    rules_armed_and_cleared_10_000_times_are_seen_whole: "fault_threads" "storm";
    counts_hold_while_rules_come_and_go: "fault_threads" "counts_in_a_storm";
    a_child_forked_amid_arming_can_arm: "fault_threads" "children_arm";
    two_threads_that_arm_leave_the_rules_of_both_armed: "fault_threads" "racing_arms";
}

/// Programs that are not written for faults, with rules for all of their calls. No rule fires, or
/// the rule that fires changes no result.
#[test]
fn programs_whose_calls_no_rule_changes_behave_as_natively() {
    let quiet = "all:error=EIO:when=999999999;all:signal=KILL:max=0;epoll_ctl,epoll_wait:error=EIO:epfd=1000000:scope=thread;\
                 all:delay_enter=5s:prob=0;epoll_wait,epoll_pwait:batch=100000000;all:delay_exit=1ns:fd=1000000";
    for (name, rules) in [
        ("epoll_create", quiet),
        ("epoll_ctl", quiet),
        ("epoll_wait", quiet),
        ("descriptors", quiet),
        ("raw_syscall", quiet),
        ("signal_handlers", quiet),
        ("constructor_user", quiet),
        ("vfork_child", quiet),
        ("fork_children", quiet),
        ("posix_spawn_child", quiet),
        ("unwind_everywhere", quiet),
        ("longjmp_out", quiet),
        ("dup2_over_epoll", quiet),
        ("exit_in_handler", quiet),
        ("cancel_epoll_wait", quiet),
        ("seccomp", quiet),
        ("descriptors", "all:delay_enter=1us:delay_exit=1us"),
        ("epoll_wait", "all:delay_enter=1us:delay_exit=1us"),
        ("cancel_epoll_wait", "all:delay_enter=1us:delay_exit=1us"),
        ("unwind_everywhere", "all:delay_exit=1us:when=1+50"),
        // The sandbox of this program forbids sleeping.
        ("seccomp", "all:delay_enter=1us:delay_exit=1us"),
    ] {
        let native = run(&mut Command::new(program(name)));
        let armed = run(Command::new(program(name))
            .env("LD_PRELOAD", testkit::shim())
            .env("EPOLLSHIM_REPORT", "none")
            .env("EPOLLSHIM_INJECT", rules));
        assert_eq!(armed.status, native.status, "{name}, {rules}:\n{}{}", armed.stdout, armed.stderr);
        assert!(armed.stdout == native.stdout, "{name}, {rules}:\n{}", armed.stdout);
    }
}

#[test]
fn impossible_faults_fire_where_they_are_allowed() {
    holds("fault_effects", "impossible", &[("EPOLLSHIM_INJECT_IMPOSSIBLE", "1")]);
}

#[test]
fn a_shuffle_keeps_the_batch_and_repeats_with_its_seed() {
    let orders = |seed| {
        let output = holds("fault_effects", "shuffled", &[("EPOLLSHIM_SEED", seed)]);
        output.lines().filter(|line| line.starts_with("order")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (first, again, other) = (orders("1"), orders("1"), orders("2"));
    assert_eq!(first.len(), 10);
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!(first.iter().collect::<BTreeSet<_>>().len() >= 9, "each batch has an order of its own: {first:?}");
}

/// Runs a program with rules from the environment. Returns its report.
fn reported(command: &mut Command, rules: &str) -> (super::Run, Value) {
    let path = testkit::scratch("report").join("report.json");
    let run = run(testkit::under_shim(command, &path).env("EPOLLSHIM_INJECT", rules));
    assert!(run.status.success(), "{rules}: {}\n{}{}", run.status, run.stdout, run.stderr);
    (run, testkit::report(&path))
}

#[test]
fn the_report_counts_what_matched_and_what_fired() {
    let rules = "epoll_create1:retval=77:when=2;epoll_ctl:error=ENOSPC:op=ADD:when=2;epoll_wait:error=EINTR:max=3;\
                 epoll_wait:timeout:when=10;epoll_wait,epoll_pwait:delay_exit=1us:when=24+:max=1:scope=rule;dup:error=EMFILE:when=1+2;\
                 epoll_ctl:error=ENOENT:op=DEL;epoll_pwait2:error=EINTR";
    let (_, report) = reported(Command::new(program("fault_effects")).arg("counted"), rules);
    let faults: Vec<_> = report["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| {
            (fault["rule"].as_str().unwrap(), fault["matched"].clone(), fault["fired"].clone(), &fault["legal"])
        })
        .collect();
    let counts = [(2, 1), (2, 1), (20, 3), (20, 1), (25, 1), (7, 4), (1, 1), (0, 0)];
    assert_eq!(faults.len(), counts.len());
    for ((written, (rule, matched, fired, legal)), (all, some)) in rules.split(';').zip(&faults).zip(counts) {
        assert_eq!((*rule, matched, fired, *legal), (written, &json!(all), &json!(some), &json!(true)));
    }
    let calls = |name: &str| {
        let call = &report["calls"][name];
        (call["calls"].clone(), call["injected"].clone(), call["errors"].clone())
    };
    assert_eq!(calls("epoll_create1"), (json!(2), json!(1), json!({})));
    assert_eq!(calls("epoll_ctl"), (json!(4), json!(2), json!({"ENOSPC": 1, "ENOENT": 1})));
    assert_eq!(calls("epoll_wait"), (json!(20), json!(4), json!({"EINTR": 3})));
    assert_eq!(calls("epoll_pwait"), (json!(5), json!(1), json!({})));
    // Made-up calls are not in the ledger.
    assert_eq!(report["instances"]["created"], 1, "{}", report["instances"]);
    assert_eq!(report["instances"]["live"], 1);
    assert_eq!(report["instances"]["peak"], 1);
    assert_eq!(report["watches"]["added"], 1, "{}", report["watches"]);
    assert_eq!(report["watches"]["deleted"], 0);
    assert_eq!(report["watches"]["live"], 1);
    assert_eq!(report["coverage"]["healed"], 0);
    assert_eq!(report["coverage"]["unseen_instances"], 0);
    assert!(report["process"]["seed"].is_u64());
}

#[test]
fn interests_with_an_injected_success_are_not_counted_as_added() {
    let rules = "epoll_create1:retval=77:when=2;epoll_ctl:retval=0:when=2;epoll_ctl:error=ENOENT:op=DEL;\
                 epoll_wait:error=EINTR:max=3;epoll_wait:timeout:when=10;dup:error=EMFILE";
    let path = testkit::scratch("report").join("report.json");
    // The program's own checks fail, because they expect the second ADD to succeed. This test
    // examines only the report.
    run(testkit::under_shim(Command::new(program("fault_effects")).arg("counted"), &path)
        .env("EPOLLSHIM_INJECT", rules));
    let report = testkit::report(&path);
    assert_eq!(report["calls"]["epoll_ctl"]["calls"], 4);
    assert_eq!(report["calls"]["epoll_ctl"]["injected"], 2);
    assert_eq!(report["watches"]["added"], 1, "{}", report["watches"]);
    assert_eq!(report["watches"]["live"], 1, "{}", report["watches"]);
}

#[test]
fn an_impossible_fault_must_be_allowed_and_is_marked_in_the_report() {
    for rules in ["epoll_wait:forge=EPOLLRDHUP", "epoll_ctl:retval=1", "dup:retval=-5000"] {
        let refused = run(Command::new(program("fault_chance"))
            .arg("3")
            .env("LD_PRELOAD", testkit::shim())
            .env("EPOLLSHIM_INJECT", rules));
        assert_eq!(refused.status.code(), Some(2), "{rules}: {}", refused.stderr);
        assert_eq!(refused.stdout, "", "{rules}: before main");
        assert!(refused.stderr.starts_with("epollshim: EPOLLSHIM_INJECT:"), "{}", refused.stderr);
        assert!(refused.stderr.contains("EPOLLSHIM_INJECT_IMPOSSIBLE=1"), "{}", refused.stderr);
    }
    let mut command = Command::new(program("fault_chance"));
    command.arg("3").env("EPOLLSHIM_INJECT_IMPOSSIBLE", "1");
    let (_, report) =
        reported(&mut command, "epoll_wait:forge=EPOLLRDHUP;epoll_wait:delay_exit=1us;epoll_ctl:retval=1");
    let legal: Vec<_> = report["faults"].as_array().unwrap().iter().map(|fault| fault["legal"].clone()).collect();
    assert_eq!(legal, [false, true, false], "{}", report["faults"]);
    assert_eq!(report["faults"][0]["fired"], 3);
}

// ---- chance ----

fn chosen(rules: &str, seed: Option<&str>) -> (BTreeSet<u32>, Value) {
    let mut command = Command::new(program("fault_chance"));
    if let Some(seed) = seed {
        command.env("EPOLLSHIM_SEED", seed);
    }
    let (run, report) = reported(&mut command, rules);
    (run.stdout.lines().map(|line| line.parse().unwrap()).collect(), report)
}

#[test]
fn a_probability_is_kept_and_its_choices_repeat_with_the_seed() {
    let rules = "epoll_wait:error=EINTR:prob=0.1";
    let (first, report) = chosen(rules, None);
    // The range is 100,000 * 0.1, plus and minus five times sqrt(100,000 * 0.1 * 0.9).
    assert!((9_526..=10_474).contains(&first.len()), "{} of 100,000", first.len());
    assert_eq!(report["faults"][0]["fired"], first.len());
    assert_eq!(report["faults"][0]["matched"], 100_000);
    let seed = report["process"]["seed"].as_u64().expect("the seed that was drawn");
    let (again, report) = chosen(rules, Some(&seed.to_string()));
    assert_eq!(report["process"]["seed"], seed);
    assert!(again == first, "the seed of the report repeats the run");
    let (other, _) = chosen(rules, Some(&(seed ^ 1).to_string()));
    assert!((9_526..=10_474).contains(&other.len()), "{} of 100,000", other.len());
    // Two independent choices have about a tenth in common.
    let common = other.intersection(&first).count();
    assert!((800..=1_200).contains(&common), "{common} in common with another seed");
    let (drawn, _) = chosen(rules, None);
    assert!(drawn != first, "another run draws another seed");
}

#[test]
fn choices_of_two_rules_and_of_neighbouring_ordinals_are_independent() {
    let (both, report) = chosen("epoll_wait:error=EINTR:prob=0.5;epoll_wait:error=EINTR:prob=0.5", Some("7"));
    // The second rule chooses among the calls that the first has left, so 3 of 4 calls fail. The
    // range is five times sqrt(100,000 * 3/16) to either side.
    assert!((74_315..=75_685).contains(&both.len()), "{} of 100,000", both.len());
    let fired: Vec<_> =
        report["faults"].as_array().unwrap().iter().map(|fault| fault["fired"].as_u64().unwrap()).collect();
    assert!((49_209..=50_791).contains(&fired[0]), "{fired:?}");
    let (half, _) = chosen("epoll_wait:error=EINTR:prob=0.5", Some("7"));
    let runs = half.iter().filter(|ordinal| half.contains(&(**ordinal + 1))).count();
    // Two neighbours are both chosen in a quarter of all cases.
    assert!((24_000..=26_000).contains(&runs), "{runs} neighbours of 100,000");
    let even = half.iter().filter(|ordinal| **ordinal % 2 == 0).count();
    assert!((24_200..=25_800).contains(&even), "{even} even ones");
}

// ---- calls that are made, and then fail ----

#[test]
fn a_call_that_is_made_and_fails_has_done_its_work_and_the_ledger_knows() {
    for census in ["0", "1"] {
        let run = run(Command::new(program("fault_made"))
            .env("LD_PRELOAD", testkit::shim())
            .env("EPOLLSHIM_REPORT_FORMAT", "json")
            .env("EPOLLSHIM_CENSUS", census));
        assert!(run.status.success(), "{}\n{}{}", run.status, run.stdout, run.stderr);
        let report: Value = serde_json::from_str(&run.stderr).unwrap_or_else(|error| panic!("{error}: {}", run.stderr));
        let findings: Vec<&str> =
            report["findings"].as_array().unwrap().iter().filter_map(|finding| finding["id"].as_str()).collect();
        // The second close of the same number is found, and nothing leaks.
        assert_eq!(findings.contains(&"double-close"), census == "1", "{findings:?}");
        let leaks = |id: &&str| ["leak", "fd-leak", "ghost", "stale-data"].contains(id);
        assert!(!findings.iter().any(leaks), "{findings:?}");
        let ctl = &report["calls"]["epoll_ctl"];
        // One DEL failed in the kernel, and one has deleted.
        assert_eq!((&ctl["calls"], &ctl["injected"], &ctl["errors"]["ENOENT"]), (&json!(5), &json!(1), &json!(1)));
        assert_eq!(report["watches"]["deleted"], 1, "{report:#}");
    }
}

#[test]
fn made_is_accepted_only_for_calls_that_a_kernel_makes_and_fails() {
    for (rule, is_refused) in [
        ("close:error=EIO:made", false),
        ("close,fclose:error=any:made:when=2", false),
        ("epoll_ctl:error=ENOENT:op=DEL:made", false),
        ("close:made", true),
        ("close:retval=0:made", true),
        ("close:delay_exit=1:made", true),
        ("close:error=EIO:made=1", true),
        ("epoll_ctl:error=ENOENT:made", true),
        ("epoll_ctl:error=ENOENT:op=ADD:made", true),
        ("close,dup:error=EIO:made", true),
    ] {
        let run = run(Command::new("true").env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_INJECT", rule));
        assert_eq!(run.status.code(), Some(if is_refused { 2 } else { 0 }), "{rule}: {}", run.stderr);
        assert_eq!(run.stderr.is_empty(), !is_refused, "{rule}: {}", run.stderr);
    }
}

// ---- who calls, and when ----

#[test]
fn a_rule_may_ask_who_calls() {
    let binary = testkit::c_program_with_library("fault_caller_library", "fault_caller");
    let every = "epoll,close,dup,dup2,dup3,fcntl,close_range:error=EIO:caller=";
    for (caller, library, own) in [
        ("libfault_caller.so", "0000000000", "1111111111"),
        ("libfault_caller.so.1", "0000000000", "1111111111"),
        ("fault_caller", "1111111111", "0000000000"),
        ("libfault_caller.so.2", "1111111111", "1111111111"),
        ("libc.so.6", "1111111111", "1111111111"),
        ("libepollshim.so", "1111111111", "1111111111"),
    ] {
        let (run, _) = reported(&mut Command::new(&binary), &format!("{every}{caller}"));
        assert_eq!(run.stdout, format!("library {library} program {own}\n"), "caller={caller}");
    }
    // Calls of other objects are not counted.
    let (run, report) = reported(&mut Command::new(&binary), "epoll_wait:error=EIO:caller=libfault_caller.so:when=2");
    assert_eq!(run.stdout, "library 1111111011 program 1111111111\n");
    assert_eq!(report["faults"][0]["matched"], 2);
}

#[test]
fn the_first_call_of_a_library_s_constructor_is_subject_to_the_rules() {
    let binary = testkit::c_program_with_library("fault_early_library", "fault_early");
    let go = |threads: &str, rules: &str| {
        let mut command = Command::new(&binary);
        command.env("EARLY_THREADS", threads);
        let (run, report) = reported(&mut command, rules);
        (run.stdout, report["faults"][0]["matched"].clone(), report["faults"].as_array().unwrap().len())
    };
    let got = go("1", "epoll_create1:error=ENOTNAM:when=1");
    assert_eq!(got, ("0 made, 1 refused\nthen made\n".to_owned(), json!(2), 1));
    // Threads of the program's constructor race with each other and with the shim's constructor.
    // The rules must be armed once.
    for _ in 0..60 {
        let got = go("4", "epoll_create1:error=ENOTNAM:max=3");
        assert_eq!(got, ("1 made, 3 refused\nthen made\n".to_owned(), json!(5), 1));
    }
}
