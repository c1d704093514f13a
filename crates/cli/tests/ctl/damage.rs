//! Damaged control pages, and processes that are killed during orders.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use epollshim_format::control;
use serde_json::Value;
use testkit::Random;

use super::common::{epollshim, output, stderr, stdout};
use super::{BEGUN, Crowd, ENOSPC, OTHERS, RETURNED, pages, word};

#[test]
fn damaged_control_pages_arm_nothing_and_are_reported() {
    let crowd = Crowd::start("4");
    crowd.running.ready();
    // A fault that a damaged page might restore: its text stays in the page.
    crowd.running.order(&["inject", "epoll_ctl:error=ENOSPC:op=ADD:max=20;epoll_wait:error=EINTR:max=20"]);
    crowd.goes_on(500);
    let before = (crowd.count(ENOSPC), crowd.count(OTHERS));
    assert_eq!(before, (20, 20));
    let path = crowd.running.recording();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let pages = pages(&file);
    let ring = |number: u64, step: u64| {
        let bell = pages + control::BELL as u64;
        file.write_all_at(&number.to_le_bytes(), bell).unwrap();
        while word(&file, bell) != 0 {
            assert!(crowd.running.alive(), "step {step}");
            std::thread::yield_now();
        }
    };
    // The whole request again, with its own number and with later ones.
    let made = word(&file, pages + control::MADE as u64);
    for step in 0..100 {
        ring(made + step / 4, step);
    }
    let mut random = Random(1);
    for step in 0..5000u64 {
        // A bit, a byte or a word: in the control words, in the texts, or anywhere.
        let place = match random.below(4) {
            0 => random.below(8),
            1 => random.below(192),
            2 => control::REQUEST as u64 + random.below(128),
            _ => random.below(control::BYTES as u64 - 8),
        };
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, pages + place).unwrap();
        match random.below(3) {
            0 => bytes[0] ^= 1 << random.below(8),
            1 => bytes[0] = random.below(256) as u8,
            _ => bytes = random.below(u64::MAX).to_le_bytes(),
        }
        file.write_all_at(&bytes, pages + place).unwrap();
        // The bell is set for the text that is there, with a number that does not match it.
        match step % 8 {
            0 => ring(random.below(u64::MAX), step),
            4 => ring(made + random.below(1 << 20), step),
            _ => ring(word(&file, pages + control::BELL as u64), step),
        }
        if step % 500 == 499 {
            crowd.goes_on(200);
        }
    }
    crowd.goes_on(1000);
    assert_eq!((crowd.count(ENOSPC), crowd.count(OTHERS)), before, "nothing was armed");
    // It can be controlled as before.
    crowd.running.order(&["inject", "epoll_ctl:error=ENOSPC:op=ADD:max=7"]);
    crowd.goes_on(1000);
    assert_eq!(crowd.count(ENOSPC), before.0 + 7);
    let status = crowd.running.order(&["off"]) + &crowd.running.order(&["status"]);
    let ignored = word(&file, pages + control::DAMAGED as u64);
    assert!(ignored >= 1250, "{ignored}");
    assert!(status.contains("IGNORED (control page damaged)"), "{status}");
    let report = epollshim().arg("report").arg(&path).output().unwrap();
    assert!(stdout(&report).contains("IGNORED (control page damaged)"), "{}", stdout(&report));
    assert!(crowd.ends());
}

#[test]
fn a_process_that_is_killed_amid_requests_leaves_a_complete_recording() {
    let mut random = Random(7);
    for round in 0..25 {
        let mut crowd = Crowd::start("8");
        crowd.goes_on(20);
        let pid = crowd.running.pid();
        let commands: Vec<_> = [
            &["inject", "epoll_ctl:error=ENOSPC:op=ADD:prob=0.5"][..],
            &["snapshot", "--format=json"],
            &["off"],
            &["limit", "watches=3,memory=1M"],
        ]
        .into_iter()
        .map(|words| {
            let (pid, words) = (pid.clone(), words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
            std::thread::spawn(move || {
                let mut done = 0;
                loop {
                    let output = output(epollshim().args(["ctl", &pid]).args(&words));
                    match output.status.code() {
                        Some(0) => done += 1,
                        // It was killed before or during the order.
                        Some(1 | 2) => return (done, stderr(&output)),
                        _ => panic!("{:?}: {}", output.status, stderr(&output)),
                    }
                }
            })
        })
        .collect();
        std::thread::sleep(Duration::from_millis(50 + random.below(150)));
        crowd.running.child.kill().unwrap();
        crowd.running.child.wait().unwrap();
        let mut done = 0;
        for command in commands {
            let (times, said) = command.join().unwrap();
            done += times;
            assert!(
                said.contains("ended without an answer")
                    || said.contains("has ended")
                    || said.contains("there is no process"),
                "round {round}: {said}"
            );
        }
        let (begun, returned) = (crowd.count(BEGUN), crowd.count(RETURNED));
        let output = epollshim().args(["report", "--format=json"]).arg(&crowd.running.recordings).output().unwrap();
        assert!(output.status.success(), "round {round}: {}", stderr(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let process = &report["processes"][0];
        assert_eq!(process["recording"]["notes"], Value::from(Vec::<Value>::new()), "round {round}, {done} orders");
        assert_eq!(process["process"]["end"], "signal");
        let calls = process["calls"].as_object().unwrap();
        let made: u64 = calls.values().map(|call| call["calls"].as_u64().unwrap()).sum();
        let creates = calls["epoll_create1"]["calls"].as_u64().unwrap();
        assert!((returned..=begun).contains(&(made - creates)), "round {round}: {returned} <= {made} <= {begun}");
    }
}
