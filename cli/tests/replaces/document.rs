//! What a document has for a shell.

/// A block of commands.
#[derive(Debug)]
pub(crate) struct Block {
    /// What it needs that not every machine has: `needs=docker`.
    pub(crate) needs: Option<String>,
    /// Whether it is not run; the text before it must say so.
    pub(crate) is_left_out: bool,
    pub(crate) steps: Vec<Step>,
}

/// A command, and what it prints.
#[derive(Debug)]
pub(crate) struct Step {
    /// The line of the document that it is at.
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) expected: Vec<String>,
}

impl Step {
    /// Whether it goes on while the next ones run.
    pub(crate) fn is_in_background(&self) -> bool {
        self.command.ends_with('&') && !self.command.ends_with("&&")
    }
}

/// The blocks of a document that are marked as `console`.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (place, line) in text.lines().enumerate() {
        let number = place + 1;
        if let Some(block) = &mut open {
            if line == "```" {
                blocks.extend(open.take());
            } else {
                read(block, number, line)?;
            }
            continue;
        }
        if let Some(kind) = line.strip_prefix("```console") {
            let words: Vec<&str> = kind.split_whitespace().collect();
            let needs = words.iter().find_map(|word| word.strip_prefix("needs="));
            let is_left_out = words.contains(&"left-out");
            if is_left_out && !paragraph_above(text, place).contains("not run") {
                return Err(format!(
                    "line {number}: a block is left out, and the text before it does not say that \
                     it is not run"
                ));
            }
            open = Some(Block {
                needs: needs.map(str::to_owned),
                is_left_out,
                steps: Vec::new(),
            });
        }
    }
    match open {
        None => Ok(blocks),
        Some(_) => Err("a block has no end".to_owned()),
    }
}

/// The paragraph that ends above a line.
fn paragraph_above(text: &str, line: usize) -> &str {
    let end = text.lines().take(line).map(|line| line.len() + 1).sum();
    let above = text.get(..end).unwrap_or_default().trim_end();
    above.rfind("\n\n").map_or(above, |start| &above[start..])
}

fn read(block: &mut Block, line: usize, text: &str) -> Result<(), String> {
    if let Some(command) = text.strip_prefix("$ ") {
        block.steps.push(Step {
            line,
            command: command.to_owned(),
            expected: Vec::new(),
        });
        return Ok(());
    }
    let Some(step) = block.steps.last_mut() else {
        return Err(format!("line {line}: a block begins with a command"));
    };
    let goes_on = step.command.ends_with('\\') || text.starts_with("> ");
    if goes_on && step.expected.is_empty() {
        step.command.push('\n');
        step.command
            .push_str(text.strip_prefix("> ").unwrap_or(text));
    } else {
        step.expected.push(text.to_owned());
    }
    Ok(())
}
