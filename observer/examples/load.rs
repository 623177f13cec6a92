#![allow(missing_docs)]
use observer::source::kernel::Kernel;
fn main() -> anyhow::Result<()> {
    let t = std::time::Instant::now();
    let k = Kernel::load(std::path::Path::new("/sys/kernel/tracing"), false);
    println!("{:?} {:?}", t.elapsed(), k.as_ref().err());
    if let Err(e) = k {
        println!("{e:?}");
    } else {
        let t = std::time::Instant::now();
        drop(k);
        println!("drop {:?}", t.elapsed());
    }
    Ok(())
}
