pub fn render(_set: &crate::Set, _out: &mut dyn std::io::Write) -> std::io::Result<()> { Ok(()) }
