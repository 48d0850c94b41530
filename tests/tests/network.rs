//! The network that peers' tests run on: who reaches whom, and what a pulled plug does.

use anyhow::Result;
use lattice_tests::fixture::{Cmd, Network, needs};

fn reaches(network: &Network, from: u8, to: &str) -> Result<bool> {
    // A datagram to a port where nobody listens: refused where the host is reached, lost elsewhere.
    let script = format!(
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(1)\n\
         try:\n s.connect(('{to}', 9)); s.send(b'?'); s.recv(1)\nexcept ConnectionRefusedError: print('reached')\n\
         except OSError: print('lost')"
    );
    let said = network.cmd(from, "python3").arg("-c").arg(script).ok()?;
    Ok(said.trim() == "reached")
}

#[test]
fn hosts_on_a_switch_reach_each_other_until_a_plug_is_pulled() -> Result<()> {
    if !needs(&["ip", "nsenter", "python3"]) {
        return Ok(());
    }
    let network = Network::switch(3)?;
    assert!(reaches(&network, 0, "10.77.0.3")?);
    network.set_link(2, false)?;
    assert!(!reaches(&network, 0, "10.77.0.3")? && reaches(&network, 0, "10.77.0.2")?);
    network.set_link(2, true)?;
    let back = (0..20).any(|_| reaches(&network, 0, "10.77.0.3").unwrap_or(false));
    assert!(back, "the plug is in again and nobody is reached");
    network.move_to(2, "10.77.0.9".parse()?)?;
    assert!(reaches(&network, 0, "10.77.0.9")? && !reaches(&network, 0, "10.77.0.3")?);
    Ok(())
}

#[test]
fn hosts_in_a_line_reach_their_neighbours_only_and_nobody_else_is_there() -> Result<()> {
    if !needs(&["ip", "nsenter", "python3"]) {
        return Ok(());
    }
    let network = Network::line(3)?;
    assert!(reaches(&network, 0, "10.77.1.2")? && reaches(&network, 1, "10.77.2.2")?);
    assert!(reaches(&network, 2, "10.77.2.1")? && !reaches(&network, 0, "10.77.2.2")?);
    let name = format!("{}-", network.name());
    drop(network);
    let left = Cmd::new("ip").arg("netns").ok()?;
    assert!(!left.contains(&name), "{left}");
    Ok(())
}
