//! Downloads that are cut, resumed, checked, shared and repeated.

use std::{fs, io::Write, path::PathBuf, sync::Mutex, time::Duration};

use worldpm_ort::hub::{self, DownloadProgress, HubError, HubOptions};

use crate::{
    fixture::{Hub, ID, NEEDED, SHARD, SHARD_HEAD, files, hash, noise},
    hub_server::{Fault, HubServer, Repository},
};

#[test]
fn only_what_is_needed_and_only_once() {
    let hub = Hub::new();
    let snapshot = hub.download().unwrap();
    assert_eq!(snapshot.path, hub.snapshot());
    assert_eq!(snapshot.commit, hub.commit);
    hub.check();

    let mut names: Vec<_> = fs::read_dir(hub.snapshot())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, NEEDED);
    for name in NEEDED {
        let link = fs::read_link(hub.snapshot().join(name)).unwrap();
        assert!(link.starts_with("../../blobs"), "{}", link.display());
    }
    assert!(hub.server.take_log().len() > NEEDED.len());

    let again = hub::download(&ID.parse().unwrap(), &hub.options(), &|_| {
        panic!("nothing is missing")
    });
    assert_eq!(again.unwrap(), snapshot);
    let paths: Vec<_> = hub.server.take_log().into_iter().map(|r| r.path).collect();
    assert_eq!(paths, ["/api/models/owner/model/revision/main"]);
}

#[test]
fn a_commit_is_a_revision() {
    let hub = Hub::new();
    let name = format!("{ID}@{}", hub.commit);
    let snapshot = hub::download(&name.parse().unwrap(), &hub.options(), &|_| {}).unwrap();
    assert_eq!(snapshot.commit, hub.commit);
    assert!(!hub.cached("refs").exists());
}

#[test]
fn progress_ends_with_everything() {
    let hub = Hub::new();
    let reports = Mutex::new(Vec::new());
    hub::download(&ID.parse().unwrap(), &hub.options(), &|p| {
        reports.lock().unwrap().push(p)
    })
    .unwrap();
    let reports = reports.into_inner().unwrap();
    let bytes = files()
        .iter()
        .filter(|(n, _)| NEEDED.contains(n) && !n.ends_with("index.json"))
        .map(|(_, b)| b.len() as u64)
        .sum();
    let all = DownloadProgress {
        files: 5,
        files_done: 5,
        bytes,
        bytes_done: bytes,
    };
    assert_eq!(
        reports.first(),
        Some(&DownloadProgress {
            files_done: 0,
            bytes_done: 0,
            ..all
        })
    );
    assert_eq!(reports.last(), Some(&all));
    assert!(reports.len() > 12, "{}", reports.len());
}

/// Ranges of the requests for a large file's bytes, without the whole ones.
fn ranges(hub: &Hub) -> Vec<String> {
    hub.server
        .take_log()
        .into_iter()
        .filter(|r| r.large)
        .filter_map(|r| r.range)
        .collect()
}

#[test]
fn a_cut_connection_is_resumed() {
    let hub = Hub::new();
    let options = HubOptions {
        workers: 1,
        ..hub.options()
    };
    hub.fail("?signature", 3, Fault::Cut(100_000));
    hub.download_with(&options).unwrap();
    hub.check();
    assert_eq!(
        ranges(&hub),
        ["bytes=100000-", "bytes=200000-", "bytes=300000-"]
    );
}

#[test]
fn an_interrupted_download_goes_on_in_the_next_run() {
    let hub = Hub::new();
    let options = HubOptions {
        workers: 1,
        attempts: 1,
        ..hub.options()
    };
    // The second shard comes last.
    hub.fail(hash(&noise(2, 3_000_000)).leak(), 1, Fault::Cut(2_000_000));
    let error = hub.download_with(&options).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("cut at 2000000 of 3000000 bytes"),
        "{error}"
    );
    assert!(!hub.snapshot().join(SHARD).exists());
    assert!(!hub.cached("refs").exists());
    let [partial] = &hub.incomplete()[..] else {
        panic!()
    };
    assert_eq!(partial.metadata().unwrap().len(), 2_000_000);

    hub.server.take_log();
    hub.download_with(&options).unwrap();
    hub.check();
    assert_eq!(ranges(&hub), ["bytes=2000000-"]);
}

#[test]
fn a_server_without_ranges_starts_again() {
    let hub = Hub::new();
    let options = HubOptions {
        workers: 1,
        ..hub.options()
    };
    hub.fail("?signature", 1, Fault::Cut(100_000));
    hub.fail("?signature", 1, Fault::NoRange);
    hub.download_with(&options).unwrap();
    hub.check();
}

#[test]
fn silence_ends_and_is_resumed() {
    let hub = Hub::new();
    let options = HubOptions {
        timeout: Duration::from_millis(200),
        ..hub.options()
    };
    hub.fail("?signature", 2, Fault::Stall(10_000));
    hub.download_with(&options).unwrap();
    hub.check();

    let hub = Hub::new();
    hub.fail("?signature", 99, Fault::Stall(10));
    let options = HubOptions {
        timeout: Duration::from_millis(50),
        attempts: 2,
        ..hub.options()
    };
    let error = hub.download_with(&options).unwrap_err().to_string();
    assert!(error.contains("nothing came for 0.05 seconds"), "{error}");
}

/// What spoils a download: which requests, and how.
type Spoil = (&'static str, Fault, &'static str);

#[test]
fn files_that_are_not_as_announced() {
    let cases: Vec<Spoil> = vec![
        ("?signature", Fault::Body(noise(9, 3_000_000)), "SHA-256"),
        (
            "?signature",
            Fault::Body(noise(9, 2_999_999)),
            "announced 3000000 bytes and sends 2999999",
        ),
        (
            "?signature",
            Fault::Body(noise(9, 3_000_001)),
            "announced 3000000 bytes and sends 3000001",
        ),
        (
            SHARD_HEAD,
            Fault::Announce(3_000_001),
            "announced 3000001 bytes and sends 3000000",
        ),
        (
            SHARD_HEAD,
            Fault::Announce(2_999_999),
            "announced 2999999 bytes and sends 3000000",
        ),
        (SHARD_HEAD, Fault::Etag(hash(b"other")), "the hub says"),
    ];
    for (part, fault, expected) in cases {
        let hub = Hub::new();
        // All but the second shard is there.
        hub.download().unwrap();
        fs::remove_file(hub.blob()).unwrap();
        fs::remove_file(hub.snapshot().join(SHARD)).unwrap();
        fs::remove_file(hub.cached("refs/main")).unwrap();

        hub.fail(part, 1, fault.clone());
        let error = hub.download().unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, HubError::Mismatch { .. }),
            "{fault:?}: {text}"
        );
        assert!(text.contains(expected) && text.contains(SHARD), "{text}");
        assert!(!hub.snapshot().join(SHARD).exists());
        assert!(!hub.cached("refs/main").exists());
        assert_eq!(hub.incomplete(), [] as [PathBuf; 0]);

        hub.download().unwrap();
        hub.check();
    }
}

#[test]
fn a_small_file_is_checked_too() {
    let hub = Hub::new();
    hub.fail(
        "GET /api/resolve-cache/models/owner/model/",
        99,
        Fault::Body(b"[]".to_vec()),
    );
    let error = hub.download().unwrap_err().to_string();
    assert!(
        error.contains("sends 2") || error.contains("Git hash"),
        "{error}"
    );
}

#[test]
fn a_length_that_is_not_told() {
    let hub = Hub::new();
    hub.fail("?signature", 99, Fault::NoLength);
    hub.download().unwrap();
    hub.check();
}

#[test]
fn what_an_earlier_run_left_may_be_wrong() {
    for left in [noise(8, 1000), noise(8, 3_000_000), noise(8, 3_000_001)] {
        let hub = Hub::new();
        fs::create_dir_all(hub.cached("blobs")).unwrap();
        let name = format!("blobs/{}.incomplete", hash(&noise(2, 3_000_000)));
        fs::write(hub.cached(&name), left).unwrap();
        hub.download().unwrap();
        hub.check();
    }
}

#[test]
fn an_etag_is_no_path() {
    for etag in ["../../../evil", "/evil", "", "a b", &"a".repeat(200)] {
        let hub = Hub::new();
        hub.fail(SHARD_HEAD, 99, Fault::Etag(etag.to_owned()));
        let error = hub.download().unwrap_err();
        assert!(matches!(error, HubError::Answer { .. }), "{error}");
    }
}

#[test]
fn offline() {
    let hub = Hub::new();
    let offline = HubOptions {
        offline: true,
        endpoint: "http://nowhere.invalid".to_owned(),
        ..hub.options()
    };
    let error = hub.download_with(&offline).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");

    let there = hub.download().unwrap();
    assert_eq!(hub.download_with(&offline).unwrap(), there);
    let pinned = format!("{ID}@{}", hub.commit).parse().unwrap();
    assert_eq!(hub::download(&pinned, &offline, &|_| {}).unwrap(), there);
    let other = format!("{ID}@{}", "0".repeat(40)).parse().unwrap();
    assert!(matches!(
        hub::download(&other, &offline, &|_| {}),
        Err(HubError::Offline { .. })
    ));

    fs::remove_file(hub.blob()).unwrap();
    let error = hub.download_with(&offline).unwrap_err().to_string();
    assert!(error.contains(SHARD), "{error}");
}

#[test]
fn two_at_once_share_the_work() {
    let hub = Hub::new();
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| hub.download());
        let two = scope.spawn(|| hub.download());
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!(one.unwrap(), two.unwrap());
    hub.check();
    let large = hub
        .server
        .take_log()
        .into_iter()
        .filter(|r| r.large && r.method == "GET")
        .count();
    assert_eq!(large, 3, "each large file once");
}

#[test]
fn a_new_commit_takes_what_is_new() {
    let hub = Hub::new();
    hub.download().unwrap();
    let mut config = fs::File::create(hub.folder.path().join("config.json")).unwrap();
    config.write_all(b"{\"new\": true}").unwrap();
    let repository = Repository::of(ID, hub.folder.path());
    let commit = repository.commit.clone();
    let server = HubServer::start(vec![repository]);
    let options = HubOptions {
        endpoint: server.endpoint(),
        ..hub.options()
    };
    let snapshot = hub.download_with(&options).unwrap();
    assert_eq!(snapshot.commit, commit);
    assert_ne!(snapshot.commit, hub.commit);
    assert_eq!(
        fs::read(snapshot.path.join("config.json")).unwrap(),
        b"{\"new\": true}"
    );
    assert!(server.take_log().iter().all(|r| !r.large));
    assert_eq!(fs::read_to_string(hub.cached("refs/main")).unwrap(), commit);
}
