//! One decision, again and again, for `.ci/instructions` to count: `instructions CASE TIMES`. With
//! nothing asked for, it names the cases.

#![expect(clippy::print_stdout, reason = "this is what it is for")]

mod cases;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(times)) = (arguments.next(), arguments.next()) else {
        for case in cases::all() {
            println!("{}", case.name);
        }
        return Ok(());
    };
    let times: u32 = times
        .parse()
        .with_context(|| format!("`{times}` is no number"))?;
    let case = cases::all()
        .into_iter()
        .find(|case| case.name == name)
        .with_context(|| format!("there is no case `{name}`"))?;
    for _ in 0..times {
        (case.run)();
    }
    Ok(())
}
