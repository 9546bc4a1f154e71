//! Which guest is meant: names, numbers as names, configurations, hostile parameters.

use testkit::call::{ARGS, CONFIGURED, GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};
use testkit::{Call, Sandbox};

use crate::scenes::{BINARY, bare, changes, domains, node, only_xm, put, web};

fn call(machine: &Sandbox) -> Call {
    machine.host(Call::ocf(BINARY))
}

/// xl takes a name of digits for a number: 100 would be an unrelated guest.
#[test]
fn a_name_of_digits_is_found_by_name_and_xl_gets_its_number() {
    let machine = node();
    machine.file("etc/xen/100", "name = \"100\"\ndisk = [ \"phy:/dev/vg0/web,xvda,w\" ]\n");
    put(&machine, 100, "other", "-b----");
    let hundred = call(&machine).param("name", "100");
    hundred.monitor().answers(NOT_RUNNING);
    hundred.run("stop").answers(SUCCESS);
    hundred.run("start").answers(SUCCESS);
    assert_eq!(changes(&machine), [["create", "/etc/xen/100", "name=\"100\""]]);
    hundred.monitor().answers(SUCCESS);
    hundred.run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine)[1], ["shutdown", "-F", "5"]);
    assert_eq!(domains(&machine), ["100 other -b----"]);
}

#[test]
fn other_guests_with_a_similar_name_are_other_guests() {
    let machine = node();
    for (id, name) in [(2, "we"), (3, "web2"), (4, "web-old"), (6, "WEB"), (7, "xweb")] {
        put(&machine, id, name, "-b----");
    }
    web(&machine).monitor().answers(NOT_RUNNING);
    web(&machine).run("stop").answers(SUCCESS);
    assert_eq!(domains(&machine).len(), 5);
}

#[test]
fn the_name_comes_from_the_configuration_or_the_resource() {
    let machine = node();
    put(&machine, 3, "web", "-b----");
    put(&machine, 4, "data", "-b----");
    let by_file = call(&machine).param("xmfile", "/etc/xen/web.cfg");
    by_file.env("OCF_RESOURCE_INSTANCE", "elsewhere").monitor().answers(SUCCESS);
    // The resource's own name, data, is that of a guest.
    machine.file("etc/xen/nameless.cfg", "memory = 5\n");
    call(&machine).param("xmfile", "/etc/xen/nameless.cfg").monitor().answers(SUCCESS);
    call(&machine).monitor().answers(SUCCESS);
    call(&machine).env("OCF_RESOURCE_INSTANCE", "nobody").monitor().answers(NOT_RUNNING);
    call(&machine).without("OCF_RESOURCE_INSTANCE").monitor().answers(ARGS).names("name");
}

/// The old agent took the resource's id for the name then, and started a second guest.
#[test]
fn a_name_with_a_comment_or_blanks_behind_it_is_still_the_name() {
    for text in
        ["name=\"web\" # the shop\n", "name = 'web'   \n", "name='web';memory=5\n", "name='x'\nname='web'\n"]
    {
        let machine = node();
        put(&machine, 3, "web", "-b----");
        machine.file("etc/xen/web.cfg", text);
        call(&machine).param("xmfile", "/etc/xen/web.cfg").monitor().answers(SUCCESS);
    }
}

#[test]
fn a_configuration_that_cannot_be_understood_is_no_absence() {
    let machine = node();
    machine.file("etc/xen/web.cfg", "name = web\n");
    let by_file = call(&machine).param("xmfile", "/etc/xen/web.cfg");
    by_file.monitor().answers(GENERIC).names("line 1");
    by_file.probe().answers(GENERIC);
    by_file.run("stop").answers(GENERIC);
    machine.file("etc/xen/web.cfg", "name = \"Domain-0\"\n");
    by_file.monitor().answers(GENERIC).names("no usable name");
    std::fs::remove_file(machine.path("etc/xen/web.cfg")).unwrap();
    machine.folder("etc/xen/web.cfg");
    by_file.monitor().answers(GENERIC).names("no file");
    let long = call(&machine).param("xmfile", "/etc/xen/long.cfg");
    machine.file("etc/xen/long.cfg", "#".repeat(300_000));
    long.monitor().answers(GENERIC).names("too long");
}

/// As on a node whose configurations lie on a disk that comes with the group.
#[test]
fn without_its_configuration_a_guest_that_was_never_here_is_stopped() {
    let machine = node();
    let by_file = call(&machine).param("xmfile", "/srv/xen/web.cfg");
    by_file.probe().answers(NOT_RUNNING);
    by_file.run("stop").answers(SUCCESS);
    by_file.run("start").answers(INSTALLED);
}

#[test]
fn the_configuration_is_found_in_each_of_its_places() {
    for place in [
        "etc/xen/vm100",
        "etc/xen/vm100.cfg",
        "etc/xen/vm/vm100",
        "etc/xen/auto/vm100.cfg",
        "etc/xend/vm100.conf",
    ] {
        let machine = node();
        machine.file(place, "name = \"vm100\"\ndisk = [ \"phy:/dev/vg0/web,xvda,w\" ]\n");
        call(&machine).param("name", "vm100").run("start").answers(SUCCESS);
        assert_eq!(changes(&machine)[0][1], format!("/{place}"));
    }
}

#[test]
fn xm_is_used_where_xl_is_absent_and_reads_python() {
    let machine = node();
    only_xm(&machine);
    let python =
        "import os\nkernel = '/boot/' + os.uname()[2]\nname = 'web'\ndisk = [ 'phy:/dev/vg0/web,sda1,w' ]\n";
    machine.file("etc/xen/web.cfg", python);
    web(&machine).run("start").answers(SUCCESS);
    web(&machine).monitor().answers(SUCCESS);
    web(&machine).run("stop").answers(SUCCESS);
    let mut calls = machine.calls("xm");
    calls.retain(|call| call[0] != "list");
    assert_eq!(calls, [["create", "/etc/xen/web.cfg", "name=web"].as_slice(), &["shutdown", "5"]]);
    machine.file("etc/xen/web.cfg", "name = 'web'\ndisk = [ 'phy:' + path ]\n");
    web(&machine).run("start").answers(GENERIC).names("line 2");
}

#[test]
fn hostile_names_and_paths_are_refused_or_are_only_words() {
    for name in [
        "-F",
        "--help",
        "a b",
        "a\nb",
        "a\"b",
        "$(reboot)",
        "../x",
        "Domain-0",
        "web--incoming",
        "a%sb",
        "\u{e4}",
    ] {
        let machine = node();
        let named = call(&machine).param("name", name);
        for action in ["start", "stop", "monitor", "validate-all"] {
            named.run(action).answers(CONFIGURED).names("name");
        }
        assert!(machine.calls("xl").is_empty());
    }
    for path in ["web.cfg", "-x", "../../etc/xen/web.cfg"] {
        let machine = node();
        let by_file = call(&machine).param("xmfile", path);
        for action in ["start", "monitor"] {
            by_file.run(action).answers(CONFIGURED).names("xmfile");
        }
    }
}

#[test]
fn a_record_that_others_could_have_written_is_not_believed() {
    let machine = bare();
    machine.file("run/holdfast/xendomain/data", "name=other\nid=3\nmemory_managed=false\n");
    put(&machine, 3, "other", "-b----");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(machine.path("run/holdfast/xendomain/data"), mode).unwrap();
    call(&machine).param("xmfile", "/srv/no.cfg").probe().answers(NOT_RUNNING);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(machine.path("run/holdfast/xendomain/data"), mode).unwrap();
    call(&machine).param("xmfile", "/srv/no.cfg").probe().answers(SUCCESS);
}
