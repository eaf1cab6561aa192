//! The lab on this machine, for real. These tests need root and fail where a lab cannot start.

mod common;

use common::lab::{TestLab, tell, until};
use hactl::lab::{Cable, UpOptions};

#[test]
fn a_host_is_a_debian_server() {
    let test = TestLab::new("t-one", 10, 1);
    let summary = test.up();
    assert_eq!(summary.changed, ["h1"]);
    assert_eq!(test.says("h1", "systemctl is-system-running --wait"), "running");
    assert_eq!(test.says("h1", "hostname"), "h1");
    assert_eq!(test.says("h1", ". /etc/os-release; echo $VERSION_CODENAME"), "bookworm");
    test.says("h1", "apt-get -q update");
    let again = test.up();
    assert_eq!(again.unchanged, ["h1"]);
    assert!(again.changed.is_empty());
}
