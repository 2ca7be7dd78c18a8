use llmtap::discover;
fn main() {
    for path in std::env::args().skip(1) {
        let start = std::time::Instant::now();
        let found = discover::examine(&std::fs::File::open(&path).unwrap());
        println!("== {path} {:?}", start.elapsed());
        match found {
            Ok(Some(discover::Finding::Hooks(plan))) => {
                println!("  {} {:?}", plan.library, plan.version);
                for line in plan.evidence {
                    println!("    {line}");
                }
                for hook in plan
                    .hooks
                    .iter()
                    .filter(|h| matches!(h.exit, Some(discover::Exit::Sites(_))))
                {
                    println!("    {hook:?}");
                }
            }
            other => println!("  {other:?}"),
        }
    }
}
