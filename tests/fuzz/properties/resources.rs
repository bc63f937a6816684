//! Resources: any text is read or refused with reasons that have a place, and what was read is
//! printed in the same way when that is read again.

use outrigger::resources::{Origin, manifest, parse_documents};

pub fn hold(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let source = Origin::file("fuzz.yaml");
    match parse_documents(text, &source, "default") {
        Ok(resources) => {
            for resource in resources {
                let printed = manifest::of(&resource).to_string();
                match parse_documents(&printed, &source, "default").as_deref() {
                    Ok([again]) => assert_eq!(manifest::of(again).to_string(), printed),
                    other => panic!("{other:?} is read from what was printed: {printed}"),
                }
            }
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a reason");
            for fault in faults {
                assert!(fault.to_string().contains("fuzz.yaml"), "{fault} has no place");
            }
        }
    }
}
