//! Plans by public symbol alone.

use std::fs::File;
use std::io::Read;

use object::{Object, ObjectSegment, ObjectSymbol};

use crate::discover::{Exit, Function, Hook, HookPlan, Site, SiteCost};

const FUNCTIONS: [(&str, Function); 7] = [
    ("SSL_read", Function::Read),
    ("SSL_read_ex", Function::ReadEx),
    ("SSL_write", Function::Write),
    ("SSL_write_ex", Function::WriteEx),
    ("SSL_write_ex2", Function::WriteEx2),
    ("SSL_free", Function::Free),
    ("SSL_ctrl", Function::Ctrl),
];

pub fn analyse(mut file: &File) -> Option<HookPlan> {
    let mut bytes = vec![];
    file.read_to_end(&mut bytes).ok()?;
    let elf = object::File::parse(&*bytes).ok()?;
    let hooks: Vec<Hook> = elf
        .dynamic_symbols()
        .filter(|s| s.is_definition())
        .filter_map(|symbol| {
            let name = symbol.name().ok()?;
            let (_, function) = *FUNCTIONS.iter().find(|(n, _)| *n == name)?;
            let address = symbol.address();
            let segment = elf
                .segments()
                .find(|s| (s.address()..s.address() + s.size()).contains(&address))?;
            let offset = address - segment.address() + segment.file_range().0;
            let exit = !matches!(function, Function::Free | Function::Ctrl);
            Some(Hook {
                function,
                entry: Site {
                    offset,
                    cost: SiteCost::Stepped,
                },
                exit: exit.then_some(Exit::Return),
            })
        })
        .collect();
    (!hooks.is_empty()).then_some(HookPlan {
        library: "openssl".into(),
        version: None,
        hooks,
        evidence: vec![],
    })
}
