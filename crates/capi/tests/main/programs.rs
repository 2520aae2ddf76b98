//! Each C program is compiled as C11 without warnings, linked statically and shared, and run in each way
//! of working.

use crate::util::{Linked, WAYS, compile, program, source, succeed};

fn in_all_ways(name: &str) {
    for linked in [Linked::Static, Linked::Shared] {
        let path = compile(&source(name), linked);
        for way in WAYS {
            succeed(program(&path, way));
        }
    }
}

#[test]
fn the_functions_of_syslet_h_answer_as_it_says() {
    in_all_ways("core.c");
}
