//! Machines that lost each other's addresses, on a network where multicast goes through.

use std::time::Duration;

use anyhow::{Result, ensure};
use lattice_tests::fixture::{Cluster, Peer};

use super::{SOON, networks};

/// Until two that know no right address of each other are connected: mDNS asks at once, and then every few seconds.
const FOUND: Duration = Duration::from_secs(20);

/// Both get other addresses while neither runs, so what each remembers of the other is wrong and nobody can tell it.
#[test]
fn members_on_one_network_find_each_other_by_mdns() -> Result<()> {
    if !networks() {
        return Ok(());
    }
    let mut cluster = Cluster::switch(2, 2)?;
    cluster.peers.iter_mut().try_for_each(Peer::stop)?;
    for host in 0..2 {
        cluster.network.move_to(host, [10, 77, 0, 50 + host].into())?;
        // Multicast goes where everything unknown goes.
        cluster.network.route_all(host)?;
    }
    cluster.peers.iter_mut().try_for_each(Peer::mount)?;
    let [a, b] = &cluster.peers[..] else { unreachable!("two nodes") };
    a.meets(1, FOUND)?;
    a.write("found", "a\n")?;
    let took = b.awaits("found", "a\n", SOON)?;
    ensure!(a.json(["peer", "list"])?.to_string().contains("10.77.0.51"), "A doesn't know where B is");
    println!("found by mDNS; an edit was there {took:?} after");
    cluster.passed();
    Ok(())
}
