//! Clients that share a host, and with it an address, its ports and its cores.

use std::collections::BTreeMap;

/// A sentence for each host from which several clients joined.
pub(super) fn shared_hosts<'a>(clients: impl Iterator<Item = (usize, &'a str)>) -> Vec<String> {
    let mut by_host: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (index, host) in clients {
        by_host.entry(host).or_default().push(index.to_string());
    }
    let shared = by_host.into_iter().filter(|(_, shards)| shards.len() > 1);
    let sentence = |(host, shards): (&str, Vec<String>)| {
        format!("shards {} are all on {host}: they share its address, ports and cores", shards.join(", "))
    };
    shared.map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_several_shards_are_named() {
        let clients = [(0, "a"), (1, "b"), (2, "a"), (3, "c"), (4, "a")];
        let expected = "shards 0, 2, 4 are all on a: they share its address, ports and cores";
        assert_eq!(shared_hosts(clients.into_iter()), [expected]);
        assert!(shared_hosts([(0, "a"), (1, "b")].into_iter()).is_empty());
    }
}
