//! The README's example compiles, runs, and is the code below, line by line.

// [readme]
use runstone::{Database, RunId, Value};

fn main_of_the_readme() -> Result<(), Box<dyn std::error::Error>> {
    let db = Database::open("my-store")?;
    let run = RunId::new();
    db.begin_run(run, [("task", "demo")])?;
    db.put(run, "answer", 42)?; // durable when it returns
    assert_eq!(db.get(run, "answer")?, Some(Value::Int(42)));
    Ok(())
}
// [/readme]

#[test]
fn the_example_of_the_readme_is_this_code_and_works() {
    let here = include_str!("readme.rs").split("// [readme]\n").nth(1);
    let here = here.and_then(|rest| rest.split("// [/readme]").next()).expect("the markers");
    let readme = include_str!("../README.md").split("```rust\n").nth(1);
    let readme = readme.and_then(|rest| rest.split("```").next()).expect("a block of Rust");
    assert_eq!(readme, here.replace("main_of_the_readme", "main"));

    // The only test of this binary, so the directory is its own.
    let dir = tempfile::tempdir().expect("a directory");
    std::env::set_current_dir(&dir).expect("it is there");
    main_of_the_readme().expect("the example works");
    assert!(dir.path().join("my-store/runstone.manifest").exists());
}
