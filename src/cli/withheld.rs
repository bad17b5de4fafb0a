//! The environment of servers that the program starts.

use super::exit::print_stderr;
use crate::server::launch;

/// Says which variables of our environment the servers do not receive.
pub(super) fn tell_withheld(pass_env: &[String]) {
    let mut names: Vec<String> =
        launch::withheld_variables().filter(|name| !pass_env.contains(name)).collect();
    names.sort_unstable();
    if !names.is_empty() {
        let names = names.join(", ");
        print_stderr(format_args!(
            "note: servers are started without {names}; --pass-env NAME gives them one"
        ));
    }
}
